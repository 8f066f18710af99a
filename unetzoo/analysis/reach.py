"""How far the output of a network sees, measured: NaN spreads exactly as far as a pixel's influence does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from unetzoo.errors import ConfigError


@dataclass(frozen=True)
class Strips:
    """The ends of an axis of a probe that are filled with NaN: before `first`, and from `last` on."""

    axis: int
    first: int
    last: int

    def fill(self, values: Tensor, stride: int = 1) -> Tensor:
        """Zeros of the shape of `values`, a map of this stride, with NaN in the strips."""
        filled = torch.zeros_like(values).movedim(self.axis + 2, 0)
        filled[: self.first // stride] = torch.nan
        filled[self.last // stride :] = torch.nan
        return filled.movedim(0, self.axis + 2)


Probe = Callable[[tuple[int, ...], Strips], Sequence[tuple[Tensor, tuple[int, ...]]]]


def measure_halo(run: Probe, align: Sequence[int], tile: Sequence[int], remainder: Sequence[int]) -> tuple[int, ...]:
    """The halo along each axis that keeps a tile's core free of what lies outside the tile.

    Filling a strip at both ends of a long, narrow probe with NaN shows how far the strip reaches, whatever the weights:
    convolution, pooling, interpolation and activations all pass NaN on, and nothing else makes one.

    Args:
        run: called with a probe's shape and strips; fills the strips with NaN in everything it reads and returns its
            results, each with its strides against the image.
        align: along each axis the multiple that windows start at and halos are rounded up to.
        tile: what one run shall see; the probe is a little longer.
        remainder: pixels by which the probe's sides exceed multiples of `align`; they belong to the strip.

    Raises:
        ConfigError: the strips reach all of the tile.
    """
    halo = []
    for axis, (step, edge) in enumerate(zip(align, tile, strict=True)):
        length = max(-(-edge // step) * step, probe_width(align, axis)) + 2 * step
        shape = tuple(
            (length if other == axis else probe_width(align, other)) + rest for other, rest in enumerate(remainder)
        )
        strips = Strips(axis, step, length - step)
        with direct_convolutions():
            results = run(shape, strips)
        reaches = [_reach(values, strides[axis], strips) for values, strides in results]
        if None in reaches:
            raise ConfigError(
                f"along axis {axis} the network sees further than half of {edge} pixels, so that a tile is all halo; "
                "use a larger tile, or mode='blend' where it sees the whole image"
            )
        halo.append(-(-max(reach for reach in reaches if reach is not None) // step) * step)
    return tuple(halo)


def _reach(values: Tensor, stride: int, strips: Strips) -> int | None:
    """Pixels from the strips to the first and last values free of NaN; None if there are none."""
    clean = (~values.isnan().movedim(strips.axis + 2, 0).flatten(1).any(1)).nonzero().flatten()
    if not len(clean):
        return None
    first, last = int(clean[0]) * stride, (int(clean[-1]) + 1) * stride
    return max(0, first - strips.first, strips.last - last)


def measure_radius(
    run: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    blocks: Mapping[int, tuple[int, int]],
    margin: Sequence[int],
) -> tuple[int, ...] | None:
    """The pixels that a block of NaN reaches beyond itself along each of its axes; None where it reaches the border.

    Args:
        run: float64 `(N, C, *spatial)` to what is looked at.
        shape: of the image, `(N, C, *spatial)`.
        blocks: by spatial axis, where the block starts and how long it is; along the others it is as long as the image.
        margin: pixels that the output of unpadded convolutions lacks along each axis.
    """
    x = torch.zeros(tuple(shape), dtype=torch.float64)
    region = [slice(None)] * len(shape)
    for axis, (start, length) in blocks.items():
        region[axis + 2] = slice(start, start + length)
    x[tuple(region)] = torch.nan
    with torch.no_grad():
        infected = run(x).isnan()
    radius = []
    for axis, (start, length) in blocks.items():
        first = margin[axis] // 2
        low, high = _span(infected, axis, first, empty=start)
        if low <= first or high >= infected.shape[axis + 2] - 1 + first:
            return None
        radius.append(max(start - low, high - (start + length - 1), 0))
    return tuple(radius)


def extent(
    marked: Tensor, start: Sequence[int], block: Sequence[int], margin: Sequence[int] | None = None
) -> tuple[int, ...]:
    """How many pixels beyond the block, per axis, pixels are marked; `margin` puts outputs in input coordinates."""
    radius = []
    for axis, (at, length, lost) in enumerate(zip(start, block, margin or (0,) * len(start), strict=True)):
        low, high = _span(marked, axis, lost // 2, empty=at)
        radius.append(max(at - low, high - (at + length - 1), 0))
    return tuple(radius)


def _span(marked: Tensor, axis: int, first: int, empty: int) -> tuple[int, int]:
    """The first and last marked place along an axis whose places count from `first` on; `empty` twice if none is."""
    at = _places(marked, axis) + first
    return (int(at[0]), int(at[-1])) if len(at) else (empty, empty)


def _places(marked: Tensor, axis: int) -> Tensor:
    """The places along a spatial axis at which anything is marked."""
    return marked.movedim(axis + 2, 0).flatten(1).any(1).nonzero().flatten()


def probe_width(align: Sequence[int], axis: int) -> int:
    """Pixels of a narrow probe: a multiple of `align` that deep networks can still take."""
    enough = 64 if len(align) == 2 else 32
    return -(-enough // align[axis]) * align[axis]


@contextmanager
def direct_convolutions() -> Iterator[None]:
    """Keeps out Winograd and Fourier convolutions, which would spread NaN over pixels that do not depend on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a TF32 setting of oneDNN that is read and set back here
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield
