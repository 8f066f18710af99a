"""An encoder of Ghost bottlenecks (after table 1 of Han et al., CVPR 2020, without squeeze-and-excitation)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from unetzoo.nn.convolution import ConvNormAct
from unetzoo_ghost.block import GhostBlock


class GhostEncoder(nn.Module):
    """Levels of Ghost blocks: (N, in_channels, *S) to features, finest first.

    `channels` has one entry per level; the first level keeps the image's size, each further one halves it, rounded up.
    """

    def __init__(
        self, in_channels: int, *, ndim: int, channels: Sequence[int] = (16, 24, 40, 80, 160), expansion: int = 2
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.strides = [2**level for level in range(len(channels))]
        self.levels = nn.ModuleList([ConvNormAct(in_channels, channels[0], ndim=ndim)])
        for wide_in, wide_out in pairwise(channels):
            down = GhostBlock(wide_in, wide_out, ndim=ndim, stride=2, expansion=expansion)
            self.levels.append(nn.Sequential(down, GhostBlock(wide_out, wide_out, ndim=ndim, expansion=expansion)))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features
