"""The plainest block: one convolution with normalization and activation."""

from __future__ import annotations

from typing_extensions import Unpack

from unetzoo.nn.convolution import ConvNormAct, ConvOptions
from unetzoo.nn.typing import Size


class Conv(ConvNormAct):
    """Convolution, normalization, activation: (N, in_channels, *S) to (N, out_channels, *S / stride).

    The options are those of `ConvNormAct`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, stride: Size = 1, **conv: Unpack[ConvOptions]
    ) -> None:
        super().__init__(in_channels, out_channels, ndim=ndim, stride=stride, **conv)
