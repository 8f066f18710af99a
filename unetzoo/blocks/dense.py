"""Densely connected layers (Huang et al., CVPR 2017, section 3; in U-Nets: Jegou et al., CVPR Workshops 2017)."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvNormAct, ConvOptions


class DenseLayers(nn.Module):
    """Layers that each add `growth` channels to all that came before: (N, in_channels, *S) to (N, out_channels, *S).

    `out_channels` is the number of output channels: the input and everything new, or, with `only_new`, the new ones
    alone. A layer is pre-activated by default (order "nac"); its options are those of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        depth: int,
        growth: int,
        only_new: bool = False,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        if conv.get("padding", "same") != "same":
            raise ConfigError("dense layers are concatenated with their input: expected padding 'same'")
        options: ConvOptions = {"order": "nac", **conv}
        self.only_new = only_new
        self.out_channels = depth * growth + (0 if only_new else in_channels)
        self.layers = nn.ModuleList(
            ConvNormAct(in_channels + index * growth, growth, ndim=ndim, **options) for index in range(depth)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layers."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(torch.cat(outputs, dim=1)))
        return torch.cat(outputs[1:] if self.only_new else outputs, dim=1)


class Dense(nn.Sequential):
    """Dense layers and a 1x1 transition to the width asked for: (N, in_channels, *S) to (N, out_channels, *S).

    `depth` counts the layers, `growth` the channels that each adds (default: `out_channels` divided among them).
    The further options are those of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        depth: int = 4,
        growth: int | None = None,
        **conv: Unpack[ConvOptions],
    ) -> None:
        if depth < 1:
            raise ConfigError(f"depth is {depth}; expected a whole number from 1")
        layers = DenseLayers(
            in_channels, ndim=ndim, depth=depth, growth=growth or max(out_channels // depth, 1), **conv
        )
        transition: ConvOptions = {"order": "nac", **conv, "kernel_size": 1}
        super().__init__(layers, ConvNormAct(layers.out_channels, out_channels, ndim=ndim, **transition))
