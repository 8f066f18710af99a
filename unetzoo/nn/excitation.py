"""Recalibration of channels and positions: squeeze and excitation, alone and with its spatial form."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.spec import split_spec
from unetzoo.nn.typing import Spec

EXCITATIONS = ("se", "scse")


class ChannelExcitation(nn.Module):
    """Scales each channel by what all channels' means tell (Hu et al., "Squeeze-and-excitation networks", CVPR 2018).

    (N, channels, *S) to the same; the hidden layer has `channels / reduction` units.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.reduce = nn.Linear(channels, hidden, bias=bias)
        self.expand = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels."""
        scale = self.expand(torch.relu(self.reduce(x.flatten(2).mean(dim=2)))).sigmoid()
        return x * scale.reshape(*scale.shape, *[1] * (x.ndim - 2))


class SpatialChannelExcitation(nn.Module):
    """The larger of channel and spatial excitation (Roy et al., "Concurrent spatial and channel squeeze and
    excitation", MICCAI 2018, with the maximum of their later paper, IEEE TMI 2019): (N, channels, *S) to the same.
    """

    def __init__(self, channels: int, *, ndim: int, reduction: int = 2) -> None:
        super().__init__()
        self.channel = ChannelExcitation(channels, reduction=reduction)
        self.spatial = dims.conv(ndim)(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale channels and positions."""
        return torch.maximum(self.channel(x), x * self.spatial(x).sigmoid())


def make_excitation(spec: Spec, channels: int, *, ndim: int) -> nn.Module:
    """Return `se` (options `reduction`, `bias`) or `scse` (`reduction`); `ConfigError` on anything else."""
    name, options = split_spec(spec, "excitation", EXCITATIONS)
    try:
        if name == "se":
            return ChannelExcitation(channels, **options)  # type: ignore[arg-type]
        return SpatialChannelExcitation(channels, ndim=ndim, **options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"excitation {name!r} does not take the options {options}: {error}") from error
