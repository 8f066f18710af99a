"""The decoder of SegNet (Badrinarayanan, Kendall and Cipolla, TPAMI 2017, figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from unetzoo.blocks.conv import Conv
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.typing import BlockFactory, Size
from unetzoo.nn.unpooling import max_unpool_like


class UnpoolingStage(CheckpointedStage):
    """Max unpooling at the maxima of the encoder's features, and blocks."""

    def __init__(self, factor: Sequence[int], blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.factor = tuple(factor)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Run the stage: (N, C, *S) and (N, C, *S * factor) to (N, out_channels, *S * factor)."""
        return self.blocks(max_unpool_like(x, skip, self.factor))


class UnpoolingDecoder(nn.Module):
    """Max unpooling instead of skip connections: only the places of the encoder's maxima are passed on.

    The coarsest features are pooled once more, as in SegNet; each stage puts its values back to where the maxima of
    the encoder's features of that level were, and turns them into those of the next finer level with `depths` blocks,
    coarsest stage first. The maxima are found again from the features, which costs less than the memory to keep them.

    Raises `ConfigError` where a level is missing between two strides, or the number of depths is not that of the
    levels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        depths: Sequence[int] | None = None,
        block: BlockFactory = Conv,
    ) -> None:
        super().__init__()
        levels = len(channels)
        depths = depths or [2] * levels
        if len(depths) != levels or min(depths) < 1:
            raise ConfigError(
                f"depths are {list(depths)}: expected {levels} numbers from 1, one per level of the encoder"
            )
        self.channels = [channels[0], *channels[:-1]]
        self.strides = list(strides)
        factors = [dims.scale_between(b, a, ndim) for a, b in pairwise(strides)]
        factors.append((2,) * ndim)
        self.pool = dims.max_pool(ndim)(factors[-1], factors[-1], ceil_mode=True)
        self.stages = nn.ModuleList()
        for level, depth in zip(range(levels - 1, -1, -1), depths, strict=True):
            widths = [channels[level]] * depth + [self.channels[level]]
            blocks = [block(a, b, ndim=ndim) for a, b in pairwise(widths)]
            self.stages.append(UnpoolingStage(factors[level], blocks))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per level, finest first."""
        x = self.pool(features[-1])
        decoded: list[torch.Tensor] = []
        for stage, skip in zip(self.stages, reversed(features), strict=True):
            x = stage(x, skip)
            decoded.insert(0, x)
        return decoded
