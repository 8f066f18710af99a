"""Two-dimensional convolutional backbones in three dimensions (Carreira and Zisserman, "Quo Vadis", CVPR 2017, 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from timm.layers import (
    BatchNormAct2d,
    Conv2dSame,
    ConvNormAct,
    DropPath,
    EffectiveSEModule,
    SEModule,
    SeparableConvNormAct,
)
from timm.layers.padding import get_same_padding
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn
from torch.nn import functional as F

from unetzoo.errors import ConfigError

# Families whose own modules do not count dimensions, once the layers below are inflated; tested one by one.
FAMILIES = (
    "cspnet",
    "densenet",
    "dla",
    "efficientnet",
    "hardcorenas",
    "hrnet",
    "mobilenetv3",
    "regnet",
    "resnet",
    "vgg",
    "vovnet",
)


class InflatedConv(nn.Conv3d):
    """A 2-D convolution in 3-D: its kernel repeated along the depth, and divided by the number of repeats.

    The depth is padded with its first and last slice, so that a volume that is constant along the depth gives the
    2-D result in every slice. `same` pads height and width as TensorFlow does, by the input's size.
    """

    def __init__(self, flat: nn.Conv2d) -> None:
        depth = flat.kernel_size[0]
        pads = cast(tuple[int, int], flat.padding)
        super().__init__(
            flat.in_channels,
            flat.out_channels,
            (depth, flat.kernel_size[0], flat.kernel_size[1]),
            (flat.stride[0], flat.stride[0], flat.stride[1]),
            (0, pads[0], pads[1]),
            (flat.dilation[0], flat.dilation[0], flat.dilation[1]),
            flat.groups,
            bias=flat.bias is not None,
            device="meta",
        )
        self.same = isinstance(flat, Conv2dSame)
        self.weight = nn.Parameter(flat.weight.detach().unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth)
        self.bias = flat.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        if self.same:
            sides = [
                get_same_padding(side, kernel, stride, dilation)
                for side, kernel, stride, dilation in zip(
                    x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
                )
            ]
            front, top, left = (side // 2 for side in sides)
            back, bottom, right = (side - side // 2 for side in sides)
            x = F.pad(x, (left, right, top, bottom))
        else:
            front = back = self.dilation[0] * (self.kernel_size[0] - 1) // 2
        return super().forward(F.pad(x, (0, 0, 0, 0, front, back), mode="replicate") if front or back else x)


class InflatedBatchNormAct(nn.BatchNorm3d):
    """timm's batch normalization with activation, in 3-D."""

    def __init__(self, flat: BatchNormAct2d) -> None:
        super().__init__(flat.num_features, flat.eps, flat.momentum, flat.affine, flat.track_running_stats)
        self.load_state_dict(flat.state_dict())
        self.drop = flat.drop
        self.act = flat.act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize and activate."""
        return self.act(self.drop(super().forward(x)))


class InflatedGate(nn.Module):
    """Squeeze and excitation in 3-D: the layers of the flat module, in `order`, on the mean over the volume."""

    def __init__(self, flat: nn.Module, order: Sequence[str]) -> None:
        super().__init__()
        self.order = tuple(order)
        for name in order:
            self.add_module(name, flat.get_submodule(name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels."""
        scale = x.mean((2, 3, 4), keepdim=True)
        for name in self.order:
            scale = self.get_submodule(name)(scale)
        return x * scale


def inflate(model: nn.Module, backbone: str, family: str) -> None:
    """Replace the layers of a 2-D backbone by their 3-D forms, weights included.

    A volume that is constant along its depth then gives the features of its slice, in every slice. Raises
    `ConfigError` that names the family or the layer that has no 3-D form.
    """
    if family not in FAMILIES:
        raise ConfigError(
            f"timm's {backbone!r} has no 3-D form: of its family {family!r} no layers can be inflated "
            f"(families that can: {', '.join(FAMILIES)})"
        )
    for path, module in list(model.named_modules()):
        if path and (inflated := _inflated(module, backbone)) is not None:
            model.set_submodule(path, inflated)


def _inflated(module: nn.Module, backbone: str) -> nn.Module | None:
    """Return the 3-D form of a layer; none for one that works in any number of dimensions."""
    for kind, make in _LAYERS.items():
        if type(module) is kind and (made := make(module)) is not None:
            return made
    source = type(module).__module__
    if type(module) in _ANY or source.startswith(_ANY_MODULES) or not source.startswith(("torch.", "timm.layers")):
        return None
    raise ConfigError(f"timm's {backbone!r} has no 3-D form: its {type(module).__name__} is two-dimensional")


def _batch_norm(flat: nn.BatchNorm2d) -> nn.Module:
    made = nn.BatchNorm3d(flat.num_features, flat.eps, flat.momentum, flat.affine, flat.track_running_stats)
    made.load_state_dict(flat.state_dict())
    return made


def _deep(size: int | tuple[int, int]) -> tuple[int, int, int]:
    return (size, size, size) if isinstance(size, int) else (size[0], *size)


def _max_pool(flat: nn.MaxPool2d) -> nn.Module:
    sizes = (_deep(flat.kernel_size), _deep(flat.stride), _deep(flat.padding), _deep(flat.dilation))
    return nn.MaxPool3d(*sizes, ceil_mode=flat.ceil_mode)


def _avg_pool(flat: nn.AvgPool2d) -> nn.Module | None:
    if flat.padding != 0 and flat.count_include_pad:
        return None  # zeros that count would darken the first and last slice
    sizes = (_deep(flat.kernel_size), _deep(flat.stride), _deep(flat.padding))
    return nn.AvgPool3d(*sizes, flat.ceil_mode, flat.count_include_pad)


def _squeeze(flat: SEModule) -> nn.Module | None:
    return None if flat.add_maxpool else InflatedGate(flat, ("fc1", "bn", "act", "fc2", "gate"))


_LAYERS: dict[type[nn.Module], Callable[..., nn.Module | None]] = {
    nn.Conv2d: InflatedConv,
    Conv2dSame: InflatedConv,
    nn.BatchNorm2d: _batch_norm,
    BatchNormAct2d: InflatedBatchNormAct,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    SEModule: _squeeze,
    SqueezeExcite: lambda flat: InflatedGate(flat, ("conv_reduce", "act1", "conv_expand", "gate")),
    EffectiveSEModule: lambda flat: InflatedGate(flat, ("fc", "gate")),
}
_ANY = (nn.Identity, nn.Dropout, nn.Upsample, ConvNormAct, SeparableConvNormAct, DropPath)
_ANY_MODULES = ("torch.nn.modules.activation", "torch.nn.modules.container", "timm.layers.activations")
