"""The decoder that does nothing, for heads that work on the encoder's features themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn.typing import Size


class IdentityDecoder(nn.Module):
    """Passes the encoder's features on."""

    def __init__(self, channels: Sequence[int], strides: Sequence[Size], *, ndim: int) -> None:
        super().__init__()
        self.channels = list(channels)
        self.strides = list(strides)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the features."""
        return features
