"""Any block with squeeze and excitation of its input or its output."""

from __future__ import annotations

from typing import Literal

from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.blocks.making import make_block
from unetzoo.components.spec import Spec
from unetzoo.nn.excitation import make_excitation
from unetzoo.nn.typing import BlockFactory, Size


class Excited(nn.Sequential):
    """A block and an excitation: (N, in_channels, *S) to (N, out_channels, *S / stride).

    `excitation` is `se` or `scse`, with their options; `where` says whether the block's input or its output is
    excited.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        stride: Size = 1,
        block: BlockFactory = DoubleConv,
        excitation: Spec = "se",
        where: Literal["input", "output"] = "output",
    ) -> None:
        body = make_block(block, in_channels, out_channels, ndim=ndim, stride=stride)
        excite = make_excitation(excitation, in_channels if where == "input" else out_channels, ndim=ndim)
        super().__init__(*([excite, body] if where == "input" else [body, excite]))
