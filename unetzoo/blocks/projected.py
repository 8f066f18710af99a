"""A block with a plain convolution behind it, such as a head that refines before it decides."""

from __future__ import annotations

from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.typing import BlockFactory, Size


class Projected(nn.Sequential):
    """Any block to `hidden` channels, then a convolution: (N, in_channels, *S) to (N, out_channels, *S).

    `hidden` is by default `out_channels`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        block: BlockFactory = DoubleConv,
        hidden: int | None = None,
        kernel_size: Size = 1,
    ) -> None:
        hidden = hidden or out_channels
        super().__init__(
            block(in_channels, hidden, ndim=ndim), make_conv(hidden, out_channels, ndim=ndim, kernel_size=kernel_size)
        )
