"""The decoder with full-scale skip connections (Huang et al., "UNet 3+", ICASSP 2020, section 2.1 and figure 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.resampling import interpolate
from unetzoo.nn.typing import Size


class FullScaleNode(CheckpointedStage):
    """One decoder level: every level brought to its size and width, concatenated, and convolved.

    Finer levels are max-pooled by the ratio of the strides, coarser ones interpolated linearly.
    """

    def __init__(
        self,
        level: int,
        channels: Sequence[int],
        strides: Sequence[Size],
        width: int,
        *,
        ndim: int,
        norm: Spec,
        activation: Spec,
        bias: bool | None,
    ) -> None:
        super().__init__()
        self.level = level
        self.pools = nn.ModuleList()
        for stride in strides[:level]:
            ratio = dims.scale_between(strides[level], stride, ndim)
            self.pools.append(dims.max_pool(ndim)(ratio, ratio, ceil_mode=True))

        def conv(wide_in: int, wide_out: int) -> ConvNormAct:
            return ConvNormAct(wide_in, wide_out, ndim=ndim, norm=norm, activation=activation, bias=bias)

        self.branches = nn.ModuleList(conv(wide, width) for wide in channels)
        self.fuse = conv(width * len(channels), width * len(channels))

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        """Join one tensor per level, finest first: (N, C_i, *S_i) to (N, width * levels, *S_level)."""
        size = features[self.level].shape[2:]
        branches = []
        for index, (x, branch) in enumerate(zip(features, self.branches, strict=True)):
            pooled = self.pools[index](x) if index < self.level else x
            branches.append(branch(interpolate(pooled, size)))
        return self.fuse(torch.cat(branches, dim=1))


class FullScaleDecoder(nn.Module):
    """Nodes from the coarsest level but one to the finest, each fed by all encoder levels and all coarser nodes.

    Every branch of a node has `width` channels, every node `width` times the number of levels. The coarsest encoder
    features are handed on as they are, behind the nodes, so that a head can supervise them.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        width: int = 64,
        norm: Spec = "batch",
        activation: Spec = "relu",
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        count = len(channels)
        if count < 2:
            raise ConfigError(f"channels {list(channels)}: full-scale skips join at least two levels")
        self.channels = [width * count] * (count - 1) + [channels[-1]]
        self.strides = list(strides)
        self.nodes = nn.ModuleList(
            FullScaleNode(
                level,
                [*channels[: level + 1], *self.channels[level + 1 :]],
                strides,
                width,
                ndim=ndim,
                norm=norm,
                activation=activation,
                bias=bias,
            )
            for level in range(count - 2, -1, -1)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per level, finest first, the last of them the encoder's coarsest."""
        decoded = features[-1:]
        for node in self.nodes:
            finer = features[: len(features) - len(decoded)]
            decoded.insert(0, node(*finer, *decoded))
        return decoded
