"""Normalization layers by name: batch, group, instance, layer, switchable, none."""

from __future__ import annotations

import math

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.spec import split_spec
from unetzoo.nn.switchable import SwitchableNorm
from unetzoo.nn.typing import Spec

NORMS = ("batch", "group", "instance", "layer", "switchable", "none")


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


def make_norm(spec: Spec, channels: int, *, ndim: int) -> nn.Module:
    """Return the normalization layer for `channels` channels.

    `group` takes `num_groups` (32 unless told), lowered to the largest number that divides the channels; where there
    are fewer channels than that, `below` groups instead. Further options are those of the torch layer. Raises
    `ConfigError` on an unknown name or option.
    """
    name, options = split_spec(spec, "normalization", NORMS)
    try:
        match name:
            case "batch":
                return dims.batch_norm(ndim)(channels, **options)
            case "instance":
                return dims.instance_norm(ndim)(channels, **{"affine": True, **options})
            case "group":
                groups = options.pop("num_groups", 32)
                below = options.pop("below", groups)
                for number in (groups, below):
                    if not isinstance(number, int) or number < 1:
                        raise ConfigError(f"num_groups or below is {number!r}; expected a whole number from 1")
                number = below if channels < groups else groups  # type: ignore[operator]
                return nn.GroupNorm(math.gcd(number, channels), channels, **options)  # type: ignore[arg-type]
            case "layer":
                return ChannelLayerNorm(channels, **options)  # type: ignore[arg-type]
            case "switchable":
                return SwitchableNorm(channels, **options)  # type: ignore[arg-type]
            case _:
                return nn.Identity(**options)
    except TypeError as error:
        raise ConfigError(f"normalization {name!r} does not take the options {options}: {error}") from error


def normalizes_alone(module: nn.Module) -> bool:
    """Whether the layer takes mean and variance over the positions of each of several channels of a sample."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels > 1
    return isinstance(module, nn.modules.instancenorm._InstanceNorm) and not module.track_running_stats
