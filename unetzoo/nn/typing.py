"""Types that the parts share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

Size = int | tuple[int, ...]
"""One number for every spatial axis, or one number an axis (anisotropic kernels and strides)."""

Spec = str | Mapping[str, object]
"""A layer by name, or by a mapping of `name` and its options: `"group"`, `{"name": "group", "num_groups": 8}`."""


class BlockFactory(Protocol):
    """Makes a block, tensor to tensor of the same spatial size; a block class is one."""

    def __call__(self, in_channels: int, out_channels: int, *, ndim: int) -> nn.Module:
        """Return the block."""
