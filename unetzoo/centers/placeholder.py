"""A center for numbers that authors' checkpoints carry and no layer uses."""

from __future__ import annotations

import torch
from torch import nn


class Placeholder(nn.Module):
    """Passes the coarsest features on: (N, channels, *S) to the same; holds `size` numbers that are not trained.

    It gives such numbers a place, so that a network has its reference's number of parameters and saves what it loaded.
    """

    def __init__(self, channels: int, *, ndim: int, size: int = 1) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(size), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`."""
        return x
