"""Changing spatial sizes: interpolation, fitting to a size, downsampling and upsampling layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from typing_extensions import Unpack

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec
from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct, ConvOptions, make_conv
from unetzoo.nn.spectral import HybridPool, SpectralPool
from unetzoo.nn.typing import Size


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


def _max_pool(channels: int, step: tuple[int, ...], *, ndim: int, ceil_mode: bool = False) -> nn.Module:
    return dims.max_pool(ndim)(step, step, ceil_mode=ceil_mode)


def _avg_pool(channels: int, step: tuple[int, ...], *, ndim: int, ceil_mode: bool = False) -> nn.Module:
    return dims.avg_pool(ndim)(step, step, ceil_mode=ceil_mode)


def _strided(
    channels: int, step: tuple[int, ...], *, ndim: int, kernel_size: Size | None = None, bias: bool = True
) -> nn.Module:
    return make_conv(channels, channels, ndim=ndim, stride=step, kernel_size=kernel_size or step, bias=bias)


def _spectral(channels: int, step: tuple[int, ...], *, ndim: int) -> nn.Module:
    return SpectralPool(step)


def _hybrid(channels: int, step: tuple[int, ...], *, ndim: int) -> nn.Module:
    return HybridPool(channels, step, ndim=ndim)


DOWNSAMPLERS: Table[nn.Module] = Table(
    "downsampling",
    {"max": _max_pool, "avg": _avg_pool, "conv": _strided, "spectral": _spectral, "hybrid": _hybrid},
)


def make_downsample(spec: Spec, channels: int, factor: Size, *, ndim: int) -> nn.Module:
    """Return a layer that lowers the size by `factor`.

    `max` and `avg` pool, with `ceil_mode`; `conv` is a strided convolution of `kernel_size` (default: the factor);
    `spectral` crops the Hartley spectrum; `hybrid` joins that with max pooling.
    """
    return DOWNSAMPLERS.make(spec, channels, dims.per_axis(factor, ndim), ndim=ndim)


class Interpolate(nn.Module):
    """Resizes by a whole factor: (N, C, *S) to (N, C, *S * factor)."""

    def __init__(self, factor: Sequence[int], *, mode: str = "linear", align_corners: bool = False) -> None:
        super().__init__()
        self.factor = tuple(factor)
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Resize; to `size` where it is given."""
        size = size or [n * f for n, f in zip(x.shape[2:], self.factor, strict=True)]
        return interpolate(x, size, mode=self.mode, align_corners=self.align_corners)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"factor={self.factor}, mode={self.mode!r}, align_corners={self.align_corners}"


# Layers in sequence, and their output channels.
_Layers = tuple[list[nn.Module], int]


def _deconv(
    in_channels: int, out_channels: int, step: tuple[int, ...], *, ndim: int, **conv: Unpack[ConvOptions]
) -> _Layers:
    options: ConvOptions = {"kernel_size": step, "norm": "none", "activation": "none", **conv}
    return [ConvNormAct(in_channels, out_channels, ndim=ndim, stride=step, transposed=True, **options)], out_channels


def _interpolation(
    mode: str,
    in_channels: int,
    out_channels: int,
    step: tuple[int, ...],
    ndim: int,
    align_corners: bool,
    conv: ConvOptions,
) -> _Layers:
    resize = Interpolate(step, mode=mode, align_corners=align_corners)
    if "kernel_size" not in conv:
        return [resize], in_channels
    options: ConvOptions = {"norm": "none", "activation": "none", **conv}
    return [resize, ConvNormAct(in_channels, out_channels, ndim=ndim, **options)], out_channels


def _linear(
    in_channels: int,
    out_channels: int,
    step: tuple[int, ...],
    *,
    ndim: int,
    align_corners: bool = False,
    **conv: Unpack[ConvOptions],
) -> _Layers:
    return _interpolation("linear", in_channels, out_channels, step, ndim, align_corners, conv)


def _nearest(
    in_channels: int, out_channels: int, step: tuple[int, ...], *, ndim: int, **conv: Unpack[ConvOptions]
) -> _Layers:
    return _interpolation("nearest", in_channels, out_channels, step, ndim, False, conv)


UPSAMPLERS = Table("upsampling", {"deconv": _deconv, "linear": _linear, "nearest": _nearest})


class Upsample(nn.Sequential):
    """Raises the size by `factor`; `out_channels` is the width of the result.

    `deconv` is a transposed convolution with `kernel_size` (default: the factor) and `bias`; `linear` (with
    `align_corners`) and `nearest` interpolate and, where `kernel_size` is given, convolve to `out_channels`
    afterwards, with `norm` and `activation` (default: "none") behind that convolution.
    """

    def __init__(self, spec: Spec, in_channels: int, out_channels: int, factor: Size, *, ndim: int) -> None:
        layers, width = UPSAMPLERS.make(spec, in_channels, out_channels, dims.per_axis(factor, ndim), ndim=ndim)
        super().__init__(*layers)
        self.out_channels = width

    def forward(self, x: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Raise the size by the factor; where `size` is given, interpolation goes straight to it."""
        for layer in self:
            x = layer(x, size) if isinstance(layer, Interpolate) else layer(x)
        return x
