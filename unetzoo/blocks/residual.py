"""The residual block with two convolutions (He et al., "Deep residual learning", CVPR 2016, figure 2)."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from ..nn.activation import make_activation
from ..nn.convolution import ConvNormAct, ConvOptions


class Residual(nn.Module):
    """Two convolutions whose result is added to the input: (N, in_channels, *S) to (N, out_channels, *S).

    The second activation comes after the sum. Where the channels change, the shortcut is a 1x1 convolution with
    normalisation. The convolutions' options are those of `ConvNormAct`, in the order "cna".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        linear: ConvOptions = {**conv, "activation": "none"}
        self.convs = nn.Sequential(
            ConvNormAct(in_channels, out_channels, ndim=ndim, **conv),
            ConvNormAct(out_channels, out_channels, ndim=ndim, **linear),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            projection: ConvOptions = {**linear, "kernel_size": 1, "dropout": 0.0}
            self.shortcut = ConvNormAct(in_channels, out_channels, ndim=ndim, **projection)
        self.act = make_activation(conv.get("activation", "relu"), out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        return self.act(self.convs(x) + self.shortcut(x))
