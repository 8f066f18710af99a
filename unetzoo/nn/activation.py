"""Activation functions by name."""

from __future__ import annotations

from torch import nn

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec, name_of
from unetzoo.errors import ConfigError


def _prelu(*, channels: int | None, num_parameters: int | None = None, init: float = 0.25) -> nn.Module:
    slopes = num_parameters or channels or 1
    if slopes not in (1, channels or slopes):
        raise ConfigError(f"num_parameters is {slopes}; expected 1, or {channels}, one slope per channel")
    return nn.PReLU(slopes, init)


def _none() -> nn.Module:
    return nn.Identity()


ACTIVATIONS: Table[nn.Module] = Table(
    "activation",
    {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "prelu": _prelu,
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "hardswish": nn.Hardswish,
        "sigmoid": nn.Sigmoid,
        "none": _none,
    },
)


def make_activation(spec: Spec, channels: int | None = None) -> nn.Module:
    """Return the activation; options are those of the torch layer.

    `prelu` has one slope per channel where `channels` is given. Raises `ConfigError` for an unknown name or option.
    """
    return ACTIVATIONS.make(spec, **({"channels": channels} if name_of(spec) == "prelu" else {}))
