"""The recurrent residual block of R2U-Net (Alom et al., "Recurrent residual CNN based on U-Net", 2018, figure 4 d)."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvNormAct, ConvOptions, make_conv


class RecurrentConv(nn.Module):
    """One convolution applied again and again, each time to its input plus its last result: (N, channels, *S) kept.

    It is applied `steps + 1` times with the same weights.
    """

    def __init__(self, channels: int, *, ndim: int, steps: int, **conv: Unpack[ConvOptions]) -> None:
        super().__init__()
        self.steps = steps
        self.conv = ConvNormAct(channels, channels, ndim=ndim, **conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Unroll the recurrence."""
        y = self.conv(x)
        for _ in range(self.steps):
            y = self.conv(x + y)
        return y


class Recurrent(nn.Module):
    """Two recurrent convolutions with a shortcut: (N, in_channels, *S) to (N, out_channels, *S).

    A 1x1 convolution brings the input to `out_channels` first; the shortcut begins behind it. The other options are
    those of `ConvNormAct`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, steps: int = 2, **conv: Unpack[ConvOptions]
    ) -> None:
        super().__init__()
        if conv.get("padding", "same") != "same":
            raise ConfigError(f"padding is {conv['padding']!r}; a recurrent block keeps the size and needs 'same'")
        self.project = make_conv(in_channels, out_channels, ndim=ndim, kernel_size=1)
        self.recurrent = nn.Sequential(*(RecurrentConv(out_channels, ndim=ndim, steps=steps, **conv) for _ in range(2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        x = self.project(x)
        return x + self.recurrent(x)
