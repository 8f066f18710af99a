"""Windows of a grid: how an image of any number of axes is cut into tiles and put together again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unetzoo.images.windows import Window, shift, size


@dataclass(frozen=True)
class Tile:
    """One run of a network.

    Attributes:
        seen: the pixels the network gets, in image coordinates; they may lie outside the image.
        kept: the pixels of the image that its output is kept for.
    """

    seen: Window
    kept: Window

    @property
    def crop(self) -> Window:
        """Where `kept` lies within `seen`."""
        return tuple(shift(kept, -seen.start) for seen, kept in zip(self.seen, self.kept, strict=True))


def on_map(window: Window, strides: Sequence[int], surplus: Sequence[int]) -> Window:
    """The same region on a map that is coarser by `strides`, and at the end longer by `surplus`.

    Starts are multiples of the strides.
    """
    axes = zip(window, strides, surplus, strict=True)
    return tuple(slice(part.start // stride, part.stop // stride + more) for part, stride, more in axes)


def halo_tiles(
    shape: Sequence[int], core: Sequence[int], halo: Sequence[int], remainder: Sequence[int] | None
) -> list[Tile]:
    """Tiles whose kept cores cover the image without overlap, each seen with a halo around it.

    Args:
        shape: of the image, one number per axis.
        core: of the kept region; at the end of an axis it is cut off by the image.
        halo: pixels seen on either side of the core.
        remainder: pixels seen behind the halo, so that tiles are as long beyond a multiple of the strides as the image
            is; what is seen ends at the image's border. None: all tiles see regions of one size, which reach beyond it.
    """
    axes = []
    for length, kept, margin, rest in zip(shape, core, halo, remainder or (0,) * len(shape), strict=True):
        parts = []
        for start in range(0, length, kept):
            stop = min(start + kept, length)
            seen = slice(start - margin, start + kept + margin)
            if remainder is not None:
                seen = slice(max(0, start - margin), min(length, stop + margin + rest))
            parts.append((seen, slice(start, stop)))
        axes.append(parts)
    return [
        Tile(*(tuple(parts) for parts in zip(*combination, strict=True))) for combination in itertools.product(*axes)
    ]


def batches(tiles: Sequence[Tile], batch_size: int) -> Iterator[list[Tile]]:
    """Neighboring tiles that see regions of one size, at most `batch_size` of them at once."""
    for _, same in itertools.groupby(tiles, key=lambda tile: size(tile.seen)):
        group = list(same)
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]
