"""Initializing a network's weights by a named scheme, as its paper has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from unetzoo.components.binding import call
from unetzoo.components.spec import Spec, split
from unetzoo.errors import ConfigError, nearest
from unetzoo.nn.normalization import ChannelLayerNorm

WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, ChannelLayerNorm)

# Each fills a weight in place: the weight, the inputs that one output sums over, the slope of the leaky ReLU behind.
SCHEMES: dict[str, Callable[[torch.Tensor, float, float], torch.Tensor]] = {
    "gaussian": lambda weight, inputs, slope: nn.init.normal_(weight, std=math.sqrt(2 / (1 + slope**2) / inputs)),
    "default": lambda weight, inputs, slope: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),
    "kaiming_normal": lambda weight, inputs, slope: nn.init.kaiming_normal_(weight, a=slope),
    "kaiming_uniform": lambda weight, inputs, slope: nn.init.kaiming_uniform_(weight, a=slope),
    "xavier_normal": lambda weight, inputs, slope: nn.init.xavier_normal_(weight),
    "xavier_uniform": lambda weight, inputs, slope: nn.init.xavier_uniform_(weight),
    "orthogonal": lambda weight, inputs, slope: nn.init.orthogonal_(weight),
}


@dataclass(frozen=True)
class Initializer:
    """Initializes the convolutions and linear layers of a module by one of `SCHEMES`, and its normalization.

    A layer that its part initialized itself, marked with `initialized = True`, is left alone.

    Attributes:
        scheme: `gaussian` has the deviation sqrt(2 / N) for N inputs to a neuron (Ronneberger et al., "U-Net", 2015,
            section 3; He et al., ICCV 2015), those of a strided transposed convolution counted right; `default` is
            what torch's layers draw by themselves; the others are torch's of that name.
        slope: of the leaky ReLU behind the layers; 0 for the ReLU.
        bias: `keep` leaves the biases of these layers as torch draws them, `zeros` sets them to zero.
        norm_std: normalization gains are drawn around one with this deviation, their biases are zero; default:
            unchanged.
    """

    scheme: str
    slope: float = 0.0
    bias: Literal["keep", "zeros"] = "keep"
    norm_std: float | None = None

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> nn.Module:
        """Initialize the module in place and return it."""
        for layer in module.modules():
            if isinstance(layer, WEIGHTED) and not getattr(layer, "initialized", False):
                SCHEMES[self.scheme](layer.weight, _inputs(layer), self.slope)
                if self.bias == "zeros" and layer.bias is not None:
                    layer.bias.zero_()
            elif self.norm_std is not None and isinstance(layer, NORMS) and layer.weight is not None:
                layer.weight.normal_(1.0, self.norm_std)
                layer.bias.zero_()
        return module


def make_initializer(spec: Spec) -> Initializer:
    """Return the initializer of a scheme by name, or by a mapping of name and options.

    Raises `ConfigError` for an unknown name, option or value.
    """
    name, options = split(spec)
    if not isinstance(name, str) or name not in SCHEMES:
        raise ConfigError(
            f"unknown initialization {name!r}: expected one of {', '.join(SCHEMES)}{nearest(str(name), SCHEMES)}"
        )
    return call(Initializer, options, name, name=f"initialization {name!r}")


def _inputs(layer: nn.Module) -> float:
    """The number of inputs that one output sums over; through a transposed convolution, its mean."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return layer.in_channels / layer.groups * weight[0, 0].numel() / math.prod(layer.stride)
    return weight[0].numel()
