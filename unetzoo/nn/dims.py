"""The torch layers that come in a 2-D and a 3-D form, picked by `ndim`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.typing import Size


def _pick(ndim: int, two: type[nn.Module], three: type[nn.Module]) -> type[nn.Module]:
    if ndim not in (2, 3):
        raise ConfigError(f"ndim is {ndim!r}; expected 2 or 3")
    return two if ndim == 2 else three


def conv(ndim: int) -> type[nn.Module]:
    """`nn.Conv2d` or `nn.Conv3d`."""
    return _pick(ndim, nn.Conv2d, nn.Conv3d)


def conv_transpose(ndim: int) -> type[nn.Module]:
    """`nn.ConvTranspose2d` or `nn.ConvTranspose3d`."""
    return _pick(ndim, nn.ConvTranspose2d, nn.ConvTranspose3d)


def max_pool(ndim: int) -> type[nn.Module]:
    """`nn.MaxPool2d` or `nn.MaxPool3d`."""
    return _pick(ndim, nn.MaxPool2d, nn.MaxPool3d)


def avg_pool(ndim: int) -> type[nn.Module]:
    """`nn.AvgPool2d` or `nn.AvgPool3d`."""
    return _pick(ndim, nn.AvgPool2d, nn.AvgPool3d)


def adaptive_avg_pool(ndim: int) -> type[nn.Module]:
    """`nn.AdaptiveAvgPool2d` or `nn.AdaptiveAvgPool3d`."""
    return _pick(ndim, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


def batch_norm(ndim: int) -> type[nn.Module]:
    """`nn.BatchNorm2d` or `nn.BatchNorm3d`."""
    return _pick(ndim, nn.BatchNorm2d, nn.BatchNorm3d)


def instance_norm(ndim: int) -> type[nn.Module]:
    """`nn.InstanceNorm2d` or `nn.InstanceNorm3d`."""
    return _pick(ndim, nn.InstanceNorm2d, nn.InstanceNorm3d)


def channel_dropout(ndim: int) -> type[nn.Module]:
    """`nn.Dropout2d` or `nn.Dropout3d`, which drop whole channels."""
    return _pick(ndim, nn.Dropout2d, nn.Dropout3d)


def per_axis(size: Size | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return `size` with one number per axis.

    >>> per_axis(3, 2), per_axis((1, 3, 3), 3)
    ((3, 3), (1, 3, 3))
    """
    sizes = (size,) * ndim if isinstance(size, int) else tuple(size)
    if len(sizes) != ndim:
        raise ConfigError(f"{size!r} has {len(sizes)} numbers; expected one, or one for each of the {ndim} axes")
    return sizes


def scale_between(coarse: Size, fine: Size, ndim: int) -> tuple[int, ...]:
    """Return the upsampling factor per axis from stride `coarse` to stride `fine`.

    Raises `ConfigError` where the strides do not divide: no stage of whole-number scale joins such levels.
    """
    pairs = list(zip(per_axis(coarse, ndim), per_axis(fine, ndim), strict=True))
    if any(c % f for c, f in pairs):
        raise ConfigError(f"a level of stride {coarse} cannot be brought to stride {fine} by a whole factor")
    return tuple(c // f for c, f in pairs)


def max_stride(stride: Size) -> int:
    """Return the largest stride over the axes."""
    return stride if isinstance(stride, int) else max(stride)


def coarsest(strides: Sequence[Size], ndim: int) -> Size:
    """Return the largest stride along each axis, one number if the axes agree.

    >>> coarsest([1, (1, 2, 2), (2, 4, 4)], 3)
    (2, 4, 4)
    """
    return collapse([max(axis) for axis in zip(*(per_axis(stride, ndim) for stride in strides), strict=True)])


def multiply(stride: Size, factor: Size, ndim: int) -> Size:
    """Return the stride of a level `factor` coarser than `stride`, one number if the axes agree.

    >>> multiply(2, (1, 2, 2), 3), multiply(2, 2, 3)
    ((2, 4, 4), 4)
    """
    return collapse([math.prod(pair) for pair in zip(per_axis(stride, ndim), per_axis(factor, ndim), strict=True)])


def collapse(axes: Sequence[int]) -> Size:
    """Return one number if the axes agree, else one number per axis."""
    return axes[0] if len(set(axes)) == 1 else tuple(axes)


def divide_up(length: int, step: int) -> int:
    """Return `length / step`, rounded up.

    Not as `-(-length // step)`: the integer division of ONNX truncates, which rounds negative numbers otherwise.
    """
    return (length + step - 1) // step


def round_up(length: int, multiple: int) -> int:
    """Return the next multiple of `multiple` from `length` on."""
    return divide_up(length, multiple) * multiple
