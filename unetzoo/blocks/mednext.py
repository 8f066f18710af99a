"""The MedNeXt block (Roy et al., "MedNeXt", MICCAI 2023, section 2.1 and figure 1), also as down and up block."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from unetzoo.components.spec import Spec
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.normalization import make_norm
from unetzoo.nn.typing import Size


class MedNeXt(nn.Module):
    """Depthwise convolution, normalization, expansion, activation, compression; the input is added.

    (N, in_channels, *S) to (N, out_channels, *S), to (N, out_channels, *S / stride), or, `transposed`, to
    (N, out_channels, *S * stride). Where the shape changes, the shortcut is a 1x1 convolution of the same stride. The
    transposed form reaches `stride * (size - 1) + 1` positions; zeros in front of every axis make up the rest, as in
    the reference code. `expansion` is the factor of the hidden channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        kernel_size: Size = 3,
        expansion: int = 4,
        stride: Size = 1,
        transposed: bool = False,
        norm: Spec = "instance",
        activation: Spec = "gelu",
    ) -> None:
        super().__init__()
        step = dims.per_axis(stride, ndim)
        hidden = expansion * in_channels
        self.pads = [pad for s in reversed(step) for pad in (s - 1, 0)] if transposed else []

        def resize(width: int, kernel: Size, groups: int) -> nn.Module:
            return make_conv(
                in_channels,
                width,
                ndim=ndim,
                kernel_size=kernel,
                stride=step,
                groups=groups,
                padding="inner" if transposed else "same",
                transposed=transposed,
            )

        self.depthwise = resize(in_channels, kernel_size, in_channels)
        self.norm = make_norm(norm, in_channels, ndim=ndim)
        self.expand = make_conv(in_channels, hidden, ndim=ndim, kernel_size=1)
        self.act = make_activation(activation, hidden)
        self.compress = make_conv(hidden, out_channels, ndim=ndim, kernel_size=1)
        same = in_channels == out_channels and set(step) == {1}
        self.shortcut = nn.Identity() if same else resize(out_channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        y = self.compress(self.act(self.expand(self.norm(self.depthwise(x)))))
        y = y + self.shortcut(x)
        return F.pad(y, self.pads) if self.pads else y
