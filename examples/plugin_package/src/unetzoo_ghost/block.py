"""The Ghost module and bottleneck (Han et al., "GhostNet: More features from cheap operations", CVPR 2020)."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo import ConfigError
from unetzoo.nn.convolution import ConvNormAct


class GhostModule(nn.Module):
    """Some maps by convolution, the others cheaply from them: (N, in_channels, *S) to (N, out_channels, *S).

    Section 3.1, figure 1b: a 1x1 convolution gives `out_channels / ratio` intrinsic maps, a depthwise 3x3 convolution
    makes `ratio - 1` ghosts of each, and both are concatenated. Raises `ConfigError` if `ratio` does not divide.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, ratio: int = 2, activation: str = "relu"
    ) -> None:
        super().__init__()
        if ratio < 2 or out_channels % ratio:
            raise ConfigError(f"ratio is {ratio}; expected 2 or more, and a divisor of the {out_channels} channels")
        intrinsic = out_channels // ratio
        self.primary = ConvNormAct(in_channels, intrinsic, ndim=ndim, kernel_size=1, activation=activation)
        self.cheap = ConvNormAct(
            intrinsic, out_channels - intrinsic, ndim=ndim, groups=intrinsic, activation=activation
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the module."""
        maps = self.primary(x)
        return torch.cat([maps, self.cheap(maps)], dim=1)


class GhostBlock(nn.Module):
    """The Ghost bottleneck (section 3.2, figure 3): (N, in_channels, *S) to (N, out_channels, *S / stride).

    One Ghost module widens to `expansion * out_channels`, a second one narrows without an activation, and the input is
    added. With a stride, a depthwise convolution stands between the two. Where shapes differ, the shortcut is a
    depthwise and a 1x1 convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, stride: int = 1, expansion: int = 2, ratio: int = 2
    ) -> None:
        super().__init__()
        hidden = expansion * out_channels
        self.expand = GhostModule(in_channels, hidden, ndim=ndim, ratio=ratio)
        self.down = nn.Identity() if stride == 1 else _depthwise(hidden, stride, ndim)
        self.reduce = GhostModule(hidden, out_channels, ndim=ndim, ratio=ratio, activation="none")
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                _depthwise(in_channels, stride, ndim),
                ConvNormAct(in_channels, out_channels, ndim=ndim, kernel_size=1, activation="none"),
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        return self.reduce(self.down(self.expand(x))) + self.shortcut(x)


def _depthwise(channels: int, stride: int, ndim: int) -> nn.Module:
    return ConvNormAct(channels, channels, ndim=ndim, stride=stride, groups=channels, activation="none")
