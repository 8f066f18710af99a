"""How far an input pixel reaches: measured by letting NaN spread, which no activation or pooling can hide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import EllipsisType

import torch
from torch import Tensor, nn

from unetzoo.analysis.cost import count_operations
from unetzoo.analysis.reach import measure_radius
from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.definition.context import tensors_in

SIDES = {1: (128, 256, 512, 1024), 2: (64, 128, 192, 256, 384), 3: (32, 48, 64)}
LENGTHS = (64, 128, 256, 512)
MOST_MACS = 5e9
"""Largest forward that is run to measure the receptive field; a wider one is left unknown."""
MOST_NUMBERS = 1e9
"""That such a forward may write: of attention, memory runs out before the time does."""


def space(at: Iterable[slice | int]) -> tuple[EllipsisType | slice | int, ...]:
    """Index of every sample and channel at these slices or pixels of the spatial axes."""
    return (..., *at)


def period(capabilities: Capabilities) -> Axes:
    """The shift, per axis, after which every level of the network is sampled alike."""
    return tuple(math.lcm(capabilities.coarsest_stride, d) for d in capabilities.divisor)


def affordable(model: nn.Module, in_channels: int, size: Axes, capabilities: Capabilities, reference: Axes) -> bool:
    """Whether a forward at `size` stays within MOST_MACS and MOST_NUMBERS, by one at `reference` and a larger one.

    Layers cost in proportion to the pixels, attention to their square.
    """
    larger = capabilities.legal((*reference[:-1], 2 * reference[-1]))
    like = next(model.parameters())
    images = (like.new_zeros((1, in_channels, *each)) for each in (reference, larger))
    (macs, first), (_, second) = (count_operations(model, image) for image in images)
    pixels, near, far = (math.prod(s) for s in (size, reference, larger))
    squared = max(second / far - first / near, 0.0) / (far - near)
    numbers = (first / near - squared * near) * pixels + squared * pixels**2
    return macs * pixels / near <= MOST_MACS and numbers <= MOST_NUMBERS


@torch.no_grad()
def receptive_field(model: nn.Module, in_channels: int, capabilities: Capabilities, reference: Axes) -> Axes | None:
    """Radius per axis beyond which no output depends on an input pixel, or None: global, or too wide to measure.

    `model` in eval mode and float64 on the CPU. A block of one period in the center is set to NaN, so that every
    phase of the strides counts. On squares, where a network that mixes up its axes has one too.
    """
    block = period(capabilities)
    for side in SIDES[capabilities.ndim]:
        size = capabilities.legal(
            tuple(-(-max(side, 3 * p) // p) * p + o for p, o in zip(block, capabilities.size_offset, strict=True))
        )
        if capabilities.fixed_size is not None or not affordable(model, in_channels, size, capabilities, reference):
            return None
        start = tuple((s // 2) // p * p for s, p in zip(size, block, strict=True))
        blocks = {axis: (a, p) for axis, (a, p) in enumerate(zip(start, block, strict=True))}
        radius = measure_radius(_finest(model), (1, in_channels, *size), blocks, capabilities.margin)
        if radius is not None:
            return radius
    return None


@torch.no_grad()
def radius_along(
    model: nn.Module, in_channels: int, capabilities: Capabilities, axis: int, reference: Axes
) -> int | None:
    """The radius of one axis, as of `receptive_field`, from images that are long along it and small otherwise.

    Of volumes a cube that a deep network does not span would be too large.
    """
    step, lost = period(capabilities)[axis], capabilities.margin[axis]
    for length in LENGTHS:
        size = long_image(capabilities, axis, max(length, 3 * step) + lost)
        if capabilities.fixed_size is not None or not affordable(model, in_channels, size, capabilities, reference):
            return None
        start = (size[axis] // 2) // step * step
        blocks = {axis: (start, step)}
        radius = measure_radius(_finest(model), (1, in_channels, *size), blocks, capabilities.margin)
        if radius is not None:
            return radius[0]
    return None


def _finest(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: tensors_in(model(x))[0]


def long_image(capabilities: Capabilities, axis: int, length: int) -> Axes:
    """A legal size of at least this length along the axis, of whole periods, and of two periods along the others."""
    rules = zip(period(capabilities), capabilities.margin, capabilities.size_offset, strict=True)
    wanted = [-(-(length if a == axis else 2 * p + m) // p) * p + o for a, (p, m, o) in enumerate(rules)]
    return capabilities.legal(tuple(wanted))


@torch.no_grad()
def shift_error(
    model: nn.Module, image: Callable[[Axes], Tensor], capabilities: Capabilities, axis: int, radius: int, shift: int
) -> float:
    """Worst relative difference between the output for an image shifted along one axis and the shifted output.

    `image` makes one of a size; it is long along the axis, and what is nearer to its ends than `radius` does not
    count.
    """
    lost = capabilities.margin[axis]
    window = long_image(capabilities, axis, 2 * max(radius, lost // 2) + 2 * shift + period(capabilities)[axis])
    x = image(tuple(s + shift * (a == axis) for a, s in enumerate(window)))
    first, second = (tensors_in(model(x.narrow(axis + 2, start, window[axis])))[0] for start in (0, shift))
    keep = max(radius - lost // 2, 0)
    length = first.shape[axis + 2] - 2 * keep - shift
    if length < 1:  # the network crops more than it declares
        return math.inf
    ours, theirs = first.narrow(axis + 2, keep + shift, length), second.narrow(axis + 2, keep, length)
    difference = (ours - theirs).abs().max() / first.abs().max().clamp(min=1.0)
    return float(difference) if not difference.isnan() else math.inf
