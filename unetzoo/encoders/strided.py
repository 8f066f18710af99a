"""The encoder whose blocks lower the size themselves (He et al., "Deep residual learning", CVPR 2016, table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from unetzoo.blocks.making import level_options, make_block
from unetzoo.blocks.residual import Residual
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.dropout import DropoutKind, last_levels, make_dropout
from unetzoo.nn.typing import BlockFactory, Size


class StridedStage(CheckpointedStage):
    """Blocks of one level in a row, the first of them strided."""

    def __init__(self, blocks: Sequence[nn.Module], dropout: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.drop = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.drop(self.blocks(x))


class StridedEncoder(nn.Module):
    """A stem, and levels of blocks of which the first is strided: (N, in_channels, *S) to features, finest first.

    Args:
        in_channels: channels of the image.
        ndim: 2 or 3.
        channels: channels of each level.
        factors: downsampling factor of each level, the first against the image; default: 1, 2, 2, ...
        depths: number of blocks of each level; default: one. The first level may have none behind a stem.
        block: block of every level; it must take `stride`.
        stem_block: block from the image to the first level's channels, at full size; default: none.
        bottom_block: block of the coarsest level where it is another one.
        per_level: options of the blocks that differ between levels, one value for each, finest first; None leaves
            the option out at that level.
        levels: levels that are returned, counted from 0; default: all.
        dropout: probabilities behind the last levels, the coarsest last.
        dropout_kind: `channel` or `element`.

    Raises:
        ConfigError: lengths differ, or the block does not take what it is given.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        factors: Sequence[Size] | None = None,
        depths: Sequence[int] | None = None,
        block: BlockFactory = Residual,
        stem_block: BlockFactory | None = None,
        bottom_block: BlockFactory | None = None,
        per_level: Mapping[str, Sequence[object]] | None = None,
        levels: Sequence[int] | None = None,
        dropout: Sequence[float] = (),
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        count = len(channels)
        steps = factors or [1] + [2] * (count - 1)
        numbers = depths or [1] * count
        if not count or {len(steps), len(numbers)} != {count}:
            raise ConfigError(
                f"{count} channels, {len(steps)} factors and {len(numbers)} depths: expected one of each per level"
            )
        if min(channels) < 1 or min(numbers[1:], default=1) < 1 or numbers[0] < (0 if stem_block else 1):
            raise ConfigError(
                f"channels {list(channels)}, depths {list(numbers)}: expected numbers from 1 (a first depth from 0 "
                "behind a stem)"
            )
        if numbers[0] == 0 and set(dims.per_axis(steps[0], ndim)) != {1}:
            raise ConfigError(f"factors {list(steps)}: a first level without blocks keeps the size")
        self.levels = sorted(range(count) if levels is None else levels)
        if not self.levels or self.levels[0] < 0 or self.levels[-1] != count - 1:
            raise ConfigError(
                f"levels {list(levels or ())}: expected numbers up to {count - 1}, the coarsest among them"
            )
        options = level_options(per_level, count)
        self.stem: nn.Module = stem_block(in_channels, channels[0], ndim=ndim) if stem_block else nn.Identity()
        wide_in = channels[0] if stem_block else in_channels
        self.stages = nn.ModuleList()
        strides: list[Size] = []
        stride: Size = 1
        for level, probability in enumerate(last_levels(dropout, count)):
            kind = bottom_block if bottom_block and level == count - 1 else block
            blocks = []
            for index in range(numbers[level]):
                step = steps[level] if index == 0 else 1
                blocks.append(
                    make_block(kind, wide_in, channels[level], ndim=ndim, stride=step, options=options[level])
                )
                wide_in = channels[level]
            self.stages.append(StridedStage(blocks, make_dropout(probability, ndim=ndim, kind=dropout_kind)))
            stride = dims.multiply(stride, steps[level], ndim)
            strides.append(stride)
        self.channels = [channels[level] for level in self.levels]
        self.strides = [strides[level] for level in self.levels]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per returned level."""
        x = self.stem(x)
        features = []
        for level, stage in enumerate(self.stages):
            x = stage(x)
            if level in self.levels:
                features.append(x)
        return features
