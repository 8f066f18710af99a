"""The center that does nothing."""

from __future__ import annotations

from torch import nn


class Identity(nn.Identity):
    """Passes the coarsest features on: (N, channels, *S) to the same."""

    def __init__(self, channels: int, *, ndim: int) -> None:
        super().__init__()
