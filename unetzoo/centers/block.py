"""Any block as the center, such as the convolution between encoder and decoder of TernausNet."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.nn.typing import BlockFactory


class BlockCenter(nn.Module):
    """A block at the coarsest level: (N, channels, *S) to the same."""

    def __init__(self, channels: int, *, ndim: int, block: BlockFactory = DoubleConv) -> None:
        super().__init__()
        self.block = block(channels, channels, ndim=ndim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        return self.block(x)
