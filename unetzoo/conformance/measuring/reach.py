"""How far an input pixel reaches: measured by letting NaN spread, which no activation or pooling can hide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import EllipsisType

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from unetzoo.analysis.operations import Operations
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
    (macs, first), (_, second) = (_cost(model, in_channels, s) for s in (reference, larger))
    pixels, near, far = (math.prod(s) for s in (size, reference, larger))
    squared = max(second / far - first / near, 0.0) / (far - near)
    numbers = (first / near - squared * near) * pixels + squared * pixels**2
    return macs * pixels / near <= MOST_MACS and numbers <= MOST_NUMBERS


@torch.no_grad()
def _cost(model: nn.Module, in_channels: int, size: Axes) -> tuple[float, int]:
    """Multiply-accumulate operations of a forward of one image, and the numbers that it writes."""
    x = torch.zeros((1, in_channels, *size), dtype=next(model.parameters()).dtype)
    written: list[int] = []

    def count(operation: object, arguments: object, result: object) -> None:
        written.extend(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor))

    with FlopCounterMode(display=False) as counter, Operations(count):
        model(x)
    return counter.get_total_flops() / 2, sum(written)


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
        x = torch.zeros((1, in_channels, *size), dtype=torch.float64)
        x[space(slice(a, a + p) for a, p in zip(start, block, strict=True))] = torch.nan
        infected = tensors_in(model(x))[0].isnan()
        radius = extent(infected, start, block, capabilities.margin)
        # What an unpadded network leaves of the image, in the image's coordinates, ends before the image does.
        room = [
            min(a - lost // 2, s - (lost - lost // 2) - a - p)
            for a, s, p, lost in zip(start, size, block, capabilities.margin or (0,) * len(size), strict=True)
        ]
        if all(r < free for r, free in zip(radius, room, strict=True)):
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
        x = torch.zeros((1, in_channels, *size), dtype=torch.float64)
        x.narrow(axis + 2, start, step).fill_(torch.nan)
        infected = tensors_in(model(x))[0].isnan().movedim(axis + 2, 0).flatten(1).any(1)
        at = infected.nonzero().flatten() + lost // 2
        low, high = (int(at.min()), int(at.max())) if len(at) else (start, start)
        if low > lost // 2 and high < len(infected) - 1 + lost // 2:
            return max(start - low, high - (start + step - 1), 0)
    return None


def long_image(capabilities: Capabilities, axis: int, length: int) -> Axes:
    """A legal size of at least this length along the axis, of whole periods, and of two periods along the others."""
    rules = zip(period(capabilities), capabilities.margin, capabilities.size_offset, strict=True)
    wanted = [-(-(length if a == axis else 2 * p + m) // p) * p + o for a, (p, m, o) in enumerate(rules)]
    return capabilities.legal(tuple(wanted))


def extent(marked: Tensor, start: Axes, block: Axes, margin: Axes | None = None) -> Axes:
    """How many pixels beyond the block, per axis, pixels are marked; `margin` puts outputs in input coordinates."""
    radius = []
    for axis, (a, p, lost) in enumerate(zip(start, block, margin or (0,) * len(start), strict=True)):
        others = [d for d in range(marked.dim()) if d != axis + 2]
        at = marked.any(dim=others).nonzero().flatten() + lost // 2
        low, high = (int(at.min()), int(at.max())) if len(at) else (a, a)
        radius.append(max(a - low, high - (a + p - 1), 0))
    return tuple(radius)


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
