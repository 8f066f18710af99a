"""Recalibration of channels and positions: squeeze and excitation, alone and with its spatial form."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec
from unetzoo.nn import dims

Count = Annotated[int, Field(ge=1)]


class ChannelExcitation(nn.Module):
    """Squeeze and excitation of channels (Hu et al., "Squeeze-and-excitation networks", CVPR 2018).

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


def _channel(channels: int, *, ndim: int, reduction: Count = 16, bias: bool = True) -> nn.Module:
    return ChannelExcitation(channels, reduction=reduction, bias=bias)


def _spatial_channel(channels: int, *, ndim: int, reduction: Count = 2) -> nn.Module:
    return SpatialChannelExcitation(channels, ndim=ndim, reduction=reduction)


EXCITATIONS = Table("excitation", {"se": _channel, "scse": _spatial_channel})


def make_excitation(spec: Spec, channels: int, *, ndim: int) -> nn.Module:
    """Return `se` (options `reduction`, `bias`) or `scse` (`reduction`); raises `ConfigError` for anything else."""
    return EXCITATIONS.make(spec, channels, ndim=ndim)
