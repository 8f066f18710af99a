"""Normalization layers by name: batch, group, instance, layer, switchable, none."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec
from unetzoo.nn import dims
from unetzoo.nn.switchable import SwitchableNorm

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class ChannelLayerNorm(nn.Module):
    """Layer normalization over the channels of each position (ConvNeXt, Liu et al., 2022), (N, C, ...) to the same."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        x = x.movedim(1, -1)
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps).movedim(-1, 1)


def _batch(
    channels: int,
    *,
    ndim: int,
    eps: Positive = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
) -> nn.Module:
    return dims.batch_norm(ndim)(channels, eps, momentum, affine, track_running_stats)


def _instance(
    channels: int,
    *,
    ndim: int,
    eps: Positive = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = False,
) -> nn.Module:
    return dims.instance_norm(ndim)(channels, eps, momentum, affine, track_running_stats)


def _group(
    channels: int,
    *,
    ndim: int,
    num_groups: Count = 32,
    below: Count | None = None,
    eps: Positive = 1e-5,
    affine: bool = True,
) -> nn.Module:
    groups = num_groups if channels >= num_groups or below is None else below
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps, affine)


def _layer(channels: int, *, ndim: int, eps: Positive = 1e-6) -> nn.Module:
    return ChannelLayerNorm(channels, eps=eps)


def _switchable(channels: int, *, ndim: int, eps: Positive = 1e-5, momentum: float = 0.1) -> nn.Module:
    return SwitchableNorm(channels, eps=eps, momentum=momentum)


def _none(channels: int, *, ndim: int) -> nn.Module:
    return nn.Identity()


NORMS: Table[nn.Module] = Table(
    "normalization",
    {
        "batch": _batch,
        "group": _group,
        "instance": _instance,
        "layer": _layer,
        "switchable": _switchable,
        "none": _none,
    },
)


def make_norm(spec: Spec, channels: int, *, ndim: int) -> nn.Module:
    """Return the normalization layer for `channels` channels.

    `group` takes `num_groups` (default: 32), lowered to the largest number that divides the channels; where there are
    fewer channels than that, `below` groups instead. Further options are those of the torch layer. Raises
    `ConfigError` for an unknown name or option, or a value out of range.
    """
    return NORMS.make(spec, channels, ndim=ndim)


def min_positions(module: nn.Module) -> int:
    """Return how many positions the coarsest map needs so that the normalization layers of a module can train.

    One position has no variance: where each channel of each sample is normalized by itself, two are needed. A module
    that knows better says so by an attribute of this name.
    """
    stated = getattr(module, "min_positions", None)
    if isinstance(stated, int):
        return stated
    return 2 if any(normalizes_alone(layer) for layer in module.modules()) else 1


def normalizes_alone(module: nn.Module) -> bool:
    """Whether the layer takes mean and variance over the positions of each of several channels of a sample."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels > 1
    return isinstance(module, nn.modules.instancenorm._InstanceNorm) and not module.track_running_stats
