"""The contracting path built from scratch (Ronneberger et al., "U-Net", MICCAI 2015), of any block and width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..blocks.double_conv import DoubleConv
from ..errors import ConfigError
from ..nn import dims
from ..nn.checkpointing import Stage
from ..nn.resampling import make_downsample
from ..nn.typing import BlockFactory, Size, Spec


class EncoderStage(Stage):
    """Downsampling and a block: (N, in_channels, *S) to (N, out_channels, *S / factor)."""

    def __init__(
        self, in_channels: int, out_channels: int, factor: Size, *, ndim: int, downsample: Spec, block: BlockFactory
    ) -> None:
        super().__init__()
        whole = set(dims.per_axis(factor, ndim)) == {1}
        self.down = nn.Identity() if whole else make_downsample(downsample, in_channels, factor, ndim=ndim)
        self.block = block(in_channels, out_channels, ndim=ndim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.block(self.down(x))


class ConvEncoder(nn.Module):
    """One block a level with downsampling between: (N, in_channels, *S) to features, finest first.

    `channels` has one entry a level. `factors` tells how much coarser each level is than the one before it (the
    first: than the image); by default the first level keeps the size and each further one halves it. `downsample`
    is `max`, `avg` or `conv`. Raises `ConfigError` if the lengths differ.
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
    ) -> None:
        super().__init__()
        factors = factors or [1] + [2] * (len(channels) - 1)
        if not channels or len(factors) != len(channels):
            raise ConfigError(f"{len(channels)} channels and {len(factors)} factors: expected one of each a level")
        self.channels = list(channels)
        self.strides: list[Size] = []
        stride: Size = 1
        for factor in factors:
            stride = dims.multiply(stride, factor, ndim)
            self.strides.append(stride)
        self.stages = nn.ModuleList(
            EncoderStage(wide_in, wide_out, factor, ndim=ndim, downsample=downsample, block=block)
            for wide_in, wide_out, factor in zip([in_channels, *channels[:-1]], channels, factors, strict=True)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor a level."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
