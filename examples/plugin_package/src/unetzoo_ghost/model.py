"""A network that does not fit encoder and decoder: Ghost blocks at full resolution, one after the other."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from unetzoo import DenseModel
from unetzoo.nn.convolution import ConvNormAct, make_conv
from unetzoo_ghost.block import GhostBlock


class GhostFlat(DenseModel):
    """A stem, `depth` Ghost blocks of `width` channels, and a 1x1 convolution to the classes.

    Float (N, in_channels, *S) to logits (N, num_classes, *S); nothing is downsampled, so any size will do.
    """

    encoder: nn.Module
    head: nn.Module

    about = {
        "title": "Ghost blocks at full resolution",
        "paper": "https://arxiv.org/abs/1911.11907",
        "year": 2020,
        "tags": ["ghost", "example"],
        "capabilities": {"dimensions": [2, 3]},
    }

    def __init__(self, *, in_channels: int, num_classes: int, ndim: int, width: int = 32, depth: int = 4) -> None:
        make_head = partial(make_conv, width, ndim=ndim, kernel_size=1)
        super().__init__(in_channels=in_channels, num_classes=num_classes, ndim=ndim, make_head=make_head)
        self.encoder = nn.Sequential(
            ConvNormAct(in_channels, width, ndim=ndim), *(GhostBlock(width, width, ndim=ndim) for _ in range(depth))
        )
        self.head = make_head(num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        self.check_input(x)
        return self.head(self.encoder(x))
