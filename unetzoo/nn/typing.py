"""Types that the parts share."""

from __future__ import annotations

from typing import Protocol

from torch import nn

Size = int | tuple[int, ...]
"""One number for every spatial axis, or one number per axis (anisotropic kernels and strides)."""


class BlockFactory(Protocol):
    """Makes a block, tensor to tensor of the same spatial size; a block class is one."""

    def __call__(self, in_channels: int, out_channels: int, *, ndim: int) -> nn.Module:
        """Return the block."""
