"""The block that only normalizes, for stages whose one convolution is the upsampling."""

from __future__ import annotations

from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn.normalization import make_norm


class Norm(nn.Sequential):
    """Normalizes: (N, channels, *S) to the same. Raises `ConfigError` where the channels would have to change."""

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int, norm: Spec = "batch") -> None:
        if in_channels != out_channels:
            raise ConfigError(f"the block 'norm' cannot turn {in_channels} channels into {out_channels}")
        super().__init__(make_norm(norm, in_channels, ndim=ndim))
