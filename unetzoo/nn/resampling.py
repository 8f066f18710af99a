"""Changing spatial sizes: interpolation, fitting to a size, downsampling and upsampling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct, make_conv
from unetzoo.nn.spec import split_spec
from unetzoo.nn.spectral import HybridPool, SpectralPool
from unetzoo.nn.typing import Size, Spec

DOWNSAMPLERS = ("max", "avg", "conv", "spectral", "hybrid")
UPSAMPLERS = ("deconv", "linear", "nearest")


def interpolate(
    x: torch.Tensor, size: Sequence[int], *, mode: str = "linear", align_corners: bool = False
) -> torch.Tensor:
    """Resize (N, C, *S) to (N, C, *size); `linear` means bilinear in 2-D and trilinear in 3-D."""
    if _known_zero([have - want for have, want in zip(x.shape[2:], size, strict=True)]):
        return x
    if mode == "nearest":
        return F.interpolate(x, size=tuple(size), mode="nearest")
    return F.interpolate(
        x, size=tuple(size), mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=align_corners
    )


def interpolate_antialiased(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize (N, C, *S) to (N, C, *size) linearly; where it shrinks, every pixel counts."""
    if _known_zero([have - want for have, want in zip(x.shape[2:], size, strict=True)]):
        return x
    if x.dtype in (torch.float16, torch.bfloat16):  # torch has no such kernel on the CPU
        return interpolate_antialiased(x.float(), size).to(x.dtype)
    if x.ndim == 4:
        return F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
    # Nor has it one for volumes: within the slices first, then across them.
    depth, *plane = size
    x = interpolate_antialiased(x.flatten(1, 2), plane).unflatten(1, x.shape[1:3])
    return interpolate_antialiased(x.flatten(3), (depth, plane[0] * plane[1])).unflatten(3, plane)


def fit(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bring (N, C, *S) to spatial `size` by zero-padding what is short and cropping what is over.

    Half of the difference goes to the front, rounded down, so that a single pixel is added or dropped at the end:
    the side on which pooling and strided convolution leave their remainder.
    """
    pads: list[int] = []
    for have, want in zip(reversed(x.shape[2:]), reversed(list(size)), strict=True):
        front = (want - have) // 2 if want >= have else -((have - want) // 2)
        pads += [front, want - have - front]
    return x if _known_zero(pads) else F.pad(x, pads)


def _known_zero(differences: list[int]) -> bool:
    # A size that is symbolic during export stays so: asking whether it is zero would fix it.
    return all(type(difference) is int and difference == 0 for difference in differences)


def center_crop(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Crop (N, C, *S) to spatial `size` around its center (Ronneberger et al., 2015, section 2)."""
    for axis, want in enumerate(size, start=2):
        x = x.narrow(axis, (x.shape[axis] - want) // 2, want)
    return x


def make_downsample(spec: Spec, channels: int, factor: Size, *, ndim: int) -> nn.Module:
    """Return a layer that lowers the size by `factor`.

    `max` and `avg` pool, with `ceil_mode`; `conv` is a strided convolution of `kernel_size` (the factor unless told);
    `spectral` crops the Hartley spectrum; `hybrid` joins that with max pooling.
    """
    name, options = split_spec(spec, "downsampling", DOWNSAMPLERS)
    step = dims.per_axis(factor, ndim)
    try:
        match name:
            case "max":
                return dims.max_pool(ndim)(step, step, **options)
            case "avg":
                return dims.avg_pool(ndim)(step, step, **options)
            case "spectral":
                return SpectralPool(step, **options)
            case "hybrid":
                return HybridPool(channels, step, ndim=ndim, **options)
            case _:
                return make_conv(channels, channels, ndim=ndim, stride=step, **{"kernel_size": step, **options})  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"downsampling {name!r} does not take the options {options}: {error}") from error


class Interpolate(nn.Module):
    """Resizes by a whole factor: (N, C, *S) to (N, C, *S * factor)."""

    def __init__(self, factor: Sequence[int], *, mode: str = "linear", align_corners: bool = False) -> None:
        super().__init__()
        self.factor = tuple(factor)
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Resize; to `size` where it is told."""
        size = size or [n * f for n, f in zip(x.shape[2:], self.factor, strict=True)]
        return interpolate(x, size, mode=self.mode, align_corners=self.align_corners)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"factor={self.factor}, mode={self.mode!r}, align_corners={self.align_corners}"


class Upsample(nn.Sequential):
    """Raises the size by `factor`; `out_channels` tells the channels that come out.

    `deconv` is a transposed convolution with `kernel_size` (the factor unless told) and `bias`; `linear` (with
    `align_corners`) and `nearest` interpolate and, where `kernel_size` is told, convolve to `out_channels`
    afterwards, with `norm` and `activation` ("none" unless told) behind that convolution.
    """

    def __init__(self, spec: Spec, in_channels: int, out_channels: int, factor: Size, *, ndim: int) -> None:
        name, options = split_spec(spec, "upsampling", UPSAMPLERS)
        step = dims.per_axis(factor, ndim)
        extra: dict[str, Any] = {"norm": "none", "activation": "none", **options}
        layers: list[nn.Module] = []
        try:
            if name == "deconv":
                kernel = extra.pop("kernel_size", step)
                layers.append(
                    ConvNormAct(
                        in_channels, out_channels, ndim=ndim, kernel_size=kernel, stride=step, transposed=True, **extra
                    )
                )
            else:
                align_corners = bool(extra.pop("align_corners", False))
                layers.append(Interpolate(step, mode=name, align_corners=align_corners))
                if "kernel_size" in extra:
                    layers.append(ConvNormAct(in_channels, out_channels, ndim=ndim, **extra))
                else:
                    out_channels = in_channels
        except TypeError as error:
            raise ConfigError(f"upsampling {name!r} does not take the options {options}: {error}") from error
        super().__init__(*layers)
        self.out_channels = out_channels

    def forward(self, x: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Raise the size by the factor; where `size` is told, interpolation goes straight to it."""
        for layer in self:
            x = layer(x, size) if isinstance(layer, Interpolate) else layer(x)
        return x
