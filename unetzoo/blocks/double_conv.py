"""The U-Net stage: two convolutions (Ronneberger et al., "U-Net", MICCAI 2015, figure 1)."""

from __future__ import annotations

from typing import Literal

from torch import nn
from typing_extensions import Unpack

from unetzoo.nn.convolution import ConvNormAct, ConvOptions
from unetzoo.nn.typing import Size


class DoubleConv(nn.Sequential):
    """Two times convolution, normalization, activation: (N, in_channels, *S) to (N, out_channels, *S / stride).

    The first convolution has the stride. `mid` is the width between the two: the output's ("out"), half
    of the input's ("in/2"), or half of the output's but at least the input's ("out/2"). The convolutions'
    options are those of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        stride: Size = 1,
        mid: Literal["out", "in/2", "out/2"] = "out",
        **conv: Unpack[ConvOptions],
    ) -> None:
        mid_channels = {"out": out_channels, "in/2": in_channels // 2, "out/2": max(out_channels // 2, in_channels)}[
            mid
        ]
        super().__init__(
            ConvNormAct(in_channels, mid_channels, ndim=ndim, stride=stride, **conv),
            ConvNormAct(mid_channels, out_channels, ndim=ndim, **conv),
        )
