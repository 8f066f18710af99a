"""Activation functions by name."""

from __future__ import annotations

from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.spec import split_spec
from unetzoo.nn.typing import Spec

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


def make_activation(spec: Spec, channels: int | None = None) -> nn.Module:
    """Return the activation; options are those of the torch layer.

    `prelu` has one slope a channel where `channels` is told. Raises `ConfigError` on an unknown name or option.
    """
    name, options = split_spec(spec, "activation", ACTIVATIONS)
    layer = ACTIVATIONS[name]
    if layer is nn.PReLU and channels is not None:
        options.setdefault("num_parameters", channels)
    try:
        return layer(**options)
    except TypeError as error:
        raise ConfigError(f"activation {name!r} does not take the options {options}: {error}") from error
