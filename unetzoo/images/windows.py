"""Windows: boxes of pixels along any number of axes, as one slice per axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

Window = tuple[slice, ...]
STRIP = 1 << 20  # pixels that are read at once where an image is only looked through


def shift(part: slice, by: int) -> slice:
    """A slice moved along its axis."""
    return slice(part.start + by, part.stop + by)


def size(window: Window) -> tuple[int, ...]:
    """Pixels along each axis."""
    return tuple(part.stop - part.start for part in window)


def index(window: Window, leading: int = 1) -> tuple[slice, ...]:
    """What picks a window from an array with `leading` axes, such as the channels, before the spatial ones."""
    return (slice(None),) * leading + window


def strips(shape: Sequence[int]) -> Iterator[Window]:
    """Windows of whole rows, or slices, that cover an image in turn."""
    rows = max(1, STRIP // max(1, prod(shape[1:])))
    rest = tuple(slice(0, length) for length in shape[1:])
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])), *rest)


def mirror_source(part: slice, length: int) -> slice:
    """The part of an axis that holds all pixels which `part` shows, itself or mirrored at the image's ends."""
    start, stop = max(part.start, 0), min(part.stop, length)
    if part.start < 0:
        start, stop = 0, max(stop, min(length, 1 - part.start))
    if part.stop > length:
        start, stop = min(start, max(0, 2 * length - part.stop - 1)), length
    return slice(start, stop)
