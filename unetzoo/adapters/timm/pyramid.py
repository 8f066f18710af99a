"""A pyramid from one map of features (Li et al., "Exploring Plain Vision Transformer Backbones", ECCV 2022, fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.normalization import ChannelLayerNorm

STRIDES = (4, 8, 16, 32)


class PyramidLevel(CheckpointedStage):
    """Brings features (N, in_channels, H, W) of stride `source` to stride `target`, both powers of two.

    Transposed convolutions by two, halving the channels each (with layer normalization and GELU between them), or
    max pooling; then a 1x1 and a 3x3 convolution to `out_channels`, each with layer normalization.
    """

    def __init__(self, in_channels: int, out_channels: int, *, source: int, target: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        while source > target:
            if layers:
                layers += [ChannelLayerNorm(width), nn.GELU()]
            layers.append(nn.ConvTranspose2d(width, width // 2, 2, 2))
            width //= 2
            source //= 2
        if target > source:
            layers.append(nn.MaxPool2d(target // source, ceil_mode=True))
        for kernel_size, wide_in in ((1, width), (3, out_channels)):
            layers.append(make_conv(wide_in, out_channels, ndim=2, kernel_size=kernel_size, bias=False))
            layers.append(ChannelLayerNorm(out_channels))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Resample."""
        return self.layers(x)


class Pyramid(nn.Module):
    """One map of features (N, in_channels, H, W) of stride `source` to one map a stride of `strides`, finest first."""

    def __init__(self, in_channels: int, out_channels: int, *, source: int, strides: Sequence[int] = STRIDES) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            PyramidLevel(in_channels, out_channels, source=source, target=stride) for stride in strides
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        return [level(x) for level in self.levels]
