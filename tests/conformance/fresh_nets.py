"""Networks that are another in a fresh process: planted defects whose home can be imported there by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CALLS = [0]
PLACES: dict[int, Tensor] = {}


class WarmsUp(nn.Module):
    """Scales the logits of the first calls in a process."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        CALLS[0] += 1
        return self.head(x) * min(1.0, CALLS[0] / 10)


class OrderOfASet(nn.Module):
    """Makes its parallel branches in the order of a set of names."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        names = {"organ", "vessel", "lesion", "bone", "nerve", "muscle", "marrow"}
        self.branches = nn.ModuleDict({name: nn.Conv2d(in_channels, num_classes, 3, padding=1) for name in names})

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches.values()]).sum(0)


class PlacesByNumber(nn.Module):
    """Keeps a map of places for each number of pixels, whatever the sides."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        if h * w not in PLACES:
            PLACES[h * w] = torch.linspace(0, 1, w).repeat(h)
        return self.head(x) + PLACES[h * w].view(h, w).to(x)
