"""The block that does nothing, but perhaps drop channels."""

from __future__ import annotations

from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.dropout import make_dropout


class IdentityBlock(nn.Sequential):
    """Passes its input on: (N, channels, *S) to the same; `dropout` is the probability of dropping a channel.

    Raises `ConfigError` where the channels would have to change.
    """

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int, dropout: float = 0.0) -> None:
        if in_channels != out_channels:
            raise ConfigError(f"the identity block cannot turn {in_channels} channels into {out_channels}")
        super().__init__(make_dropout(dropout, ndim=ndim))
