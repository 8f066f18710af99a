"""The contracting path built from scratch (Ronneberger et al., "U-Net", MICCAI 2015), of any block and width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.dropout import DropoutKind, last_levels, make_dropout
from unetzoo.nn.resampling import make_downsample
from unetzoo.nn.typing import BlockFactory, Size


class EncoderStage(CheckpointedStage):
    """Downsampling, blocks and dropout: (N, in_channels, *S) to (N, out_channels, *S / factor)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: Size,
        *,
        ndim: int,
        downsample: Spec,
        block: BlockFactory,
        depth: int,
        dropout: nn.Module,
    ) -> None:
        super().__init__()
        whole = set(dims.per_axis(factor, ndim)) == {1}
        self.down = nn.Identity() if whole else make_downsample(downsample, in_channels, factor, ndim=ndim)
        blocks = [block(width, out_channels, ndim=ndim) for width in [in_channels, *[out_channels] * (depth - 1)]]
        self.block = blocks[0] if depth == 1 else nn.Sequential(*blocks)
        self.drop = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.drop(self.block(self.down(x)))


class ConvEncoder(nn.Module):
    """Blocks at every level with downsampling between: (N, in_channels, *S) to features, finest first.

    `channels` has one entry per level. `factors` is the downsampling factor of each level (the
    first: than the image); by default the first level keeps the size and each further one halves it. `downsample`
    is `max`, `avg` or `conv`. `depths` is the number of blocks of each level (default: one); `bottom_block` is
    the block of the coarsest level where it is another one. `dropout` lists the probabilities behind the last levels,
    the coarsest last. Raises `ConfigError` if the lengths differ.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        factors: Sequence[Size] | None = None,
        downsample: Spec = "max",
        block: BlockFactory = DoubleConv,
        bottom_block: BlockFactory | None = None,
        depths: Sequence[int] | None = None,
        dropout: Sequence[float] = (),
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        levels = len(channels)
        factors = factors or [1] + [2] * (levels - 1)
        depths = depths or [1] * levels
        if not levels or {len(factors), len(depths)} != {levels}:
            raise ConfigError(
                f"{levels} channels, {len(factors)} factors and {len(depths)} depths: expected one of each per level"
            )
        if min(channels) < 1 or min(depths) < 1:
            raise ConfigError(f"channels {list(channels)} and depths {list(depths)}: expected numbers from 1")
        self.channels = list(channels)
        self.strides: list[Size] = []
        self.stages = nn.ModuleList()
        stride: Size = 1
        for level, probability in enumerate(last_levels(dropout, levels)):
            stride = dims.multiply(stride, factors[level], ndim)
            self.strides.append(stride)
            self.stages.append(
                EncoderStage(
                    channels[level - 1] if level else in_channels,
                    channels[level],
                    factors[level],
                    ndim=ndim,
                    downsample=downsample,
                    block=bottom_block if bottom_block and level == levels - 1 else block,
                    depth=depths[level],
                    dropout=make_dropout(probability, ndim=ndim, kind=dropout_kind),
                )
            )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
