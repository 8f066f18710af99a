"""Prediction by windows that need no plan: mirrored overlap-tiles, and blended windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from unetzoo.errors import ConfigError
from unetzoo.images.windows import Window, index, shift, size
from unetzoo.inference.plan.geometry import Tile, batches, halo_tiles
from unetzoo.inference.run.exact import Read
from unetzoo.nn.dims import round_up

GAUSSIAN_SIGMA = 1 / 8  # of the window, as in nnU-Net (Isensee et al. 2021)


class MirrorRunner:
    """The overlap-tile strategy of U-Net (Ronneberger et al. 2015, figure 2): only the core of each tile is kept.

    The image goes on beyond its border as its mirror image. With unpadded convolutions the core is what the network
    returns, and tiles then fit together without a seam.

    Args:
        network: in evaluation mode; returns the input's size, or less by the same margin on both sides.
        read: gives the mirrored image `(N, C, *tile)`.
        shape: of the image.
        tile: what the network sees.
        halo: what is not kept of it at each side.
        align: multiple of pixels that tiles are moved by.
        batch_size: tiles a run.

    Attributes:
        steps, total: number of batches.
    """

    def __init__(
        self,
        network: nn.Module,
        read: Read,
        shape: Sequence[int],
        tile: Sequence[int],
        halo: Sequence[int],
        align: int,
        batch_size: int,
    ) -> None:
        core = tuple((seen - 2 * margin) // align * align for seen, margin in zip(tile, halo, strict=True))
        if min(core) <= 0:
            raise ConfigError(f"a tile of {tuple(tile)} pixels is all halo with {tuple(halo)} pixels at each side")
        self._network = network
        self._read = read
        tiles = []
        for cut in halo_tiles(shape, core, halo, None):
            seen = tuple(slice(part.start, part.start + length) for part, length in zip(cut.seen, tile, strict=True))
            tiles.append(Tile(seen, cut.kept))
        self._batches = list(batches(tiles, batch_size))
        self.steps = self.total = len(self._batches)

    def run(self, done: int, tick: Callable[[], None]) -> Iterator[list[tuple[Window, Tensor]]]:
        """Yields, batch by batch from number `done` on, windows and their logits `(C, *window)`."""
        for batch in self._batches[done:]:
            with torch.inference_mode():
                logits = self._network(self._read(batch))
            tick()
            pieces = []
            for tile, values in zip(batch, logits, strict=True):
                lost = [(seen - got) // 2 for seen, got in zip(size(tile.seen), values.shape[1:], strict=True)]
                crop = tuple(slice(p.start - gone, p.stop - gone) for p, gone in zip(tile.crop, lost, strict=True))
                pieces.append((tile.kept, values[index(crop)]))
            yield pieces


class BlendRunner:
    """Overlapping windows, averaged with weights that fall off from each window's center as a Gaussian does.

    Rows of windows are summed up in a band as high as one window; what no later row touches is passed on, so that
    memory does not grow with the image's first axis.

    Args:
        network: in evaluation mode; returns the input's size.
        read: gives the mirrored image `(N, C, *tile)`.
        shape: of the image.
        tile: what the network sees.
        overlap: overlap of neighboring windows, as a fraction from 0 to below 1.
        batch_size: windows a run.

    Attributes:
        steps: rows of windows along the first axis.
        total: batches of windows.
    """

    def __init__(
        self,
        network: nn.Module,
        read: Read,
        shape: Sequence[int],
        tile: Sequence[int],
        overlap: float,
        batch_size: int,
    ) -> None:
        if not 0 <= overlap < 1:
            raise ConfigError(f"overlap is {overlap}; expected a share from 0 to under 1")
        self._network = network
        self._read = read
        self._shape = tuple(shape)
        self._tile = tuple(tile)
        self._starts = [_starts(*axis, overlap) for axis in zip(shape, tile, strict=True)]
        self._weights = [_weights(*axis) for axis in zip(self._starts, shape, tile, strict=True)]
        self._rows = [list(batches(self._windows(row), batch_size)) for row in range(len(self._starts[0]))]
        self.steps = len(self._rows)
        self.total = sum(len(row) for row in self._rows)

    def run(self, done: int, tick: Callable[[], None]) -> Iterator[list[tuple[Window, Tensor]]]:
        """Yields, row by row from number `done` on, the finished band and its logits `(C, *band)`."""
        rows, height = self._starts[0], self._tile[0]
        first = next(row for row, start in enumerate(rows) if start + height > rows[min(done, len(rows) - 1)])
        band: Tensor | None = None
        for row in range(first, len(rows)):
            top = max(0, rows[row])
            for batch in self._rows[row]:
                with torch.inference_mode():
                    logits = self._network(self._read(batch)).float()
                tick()
                if band is None:
                    band = logits.new_zeros(logits.shape[1], height, *self._shape[1:])
                for tile, values in zip(batch, logits, strict=True):
                    self._add(band, top, row, tile, values)
            assert band is not None  # every row has a window
            bottom = self._shape[0] if row + 1 == len(rows) else max(0, rows[row + 1])
            if row >= done:
                yield [((slice(top, bottom), *(slice(0, n) for n in self._shape[1:])), band[:, : bottom - top])]
            band = torch.cat([band[:, bottom - top :], torch.zeros_like(band[:, : bottom - top])], 1)

    def _windows(self, row: int) -> list[Tile]:
        tiles = []
        for starts in itertools.product([self._starts[0][row]], *self._starts[1:]):
            seen = tuple(slice(start, start + length) for start, length in zip(starts, self._tile, strict=True))
            kept = tuple(slice(max(0, p.start), min(n, p.stop)) for p, n in zip(seen, self._shape, strict=True))
            tiles.append(Tile(seen, kept))
        return tiles

    def _add(self, band: Tensor, top: int, row: int, tile: Tile, values: Tensor) -> None:
        values = values[index(tile.crop)]
        for axis, (part, crop) in enumerate(zip(tile.seen, tile.crop, strict=True)):
            number = row if axis == 0 else self._starts[axis].index(part.start)
            weights = torch.from_numpy(self._weights[axis][number][crop]).to(values)
            values = values * weights.reshape(-1, *[1] * (len(tile.seen) - 1 - axis))
        band[index((shift(tile.kept[0], -top), *tile.kept[1:]))] += values


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where windows start along an axis: one at each end of the image and as many between as the overlap needs."""
    if length <= tile:
        return [0]
    shared = int(tile * overlap)
    count = -(-(length - shared) // (tile - shared))
    return [round(start) for start in np.linspace(0, length - tile, count)]


def _weights(starts: Sequence[int], length: int, tile: int) -> list[np.ndarray]:
    """Weights of each window along an axis, whose sum over all windows is one at every pixel of the image."""
    centered = (np.arange(tile) - (tile - 1) / 2) / (GAUSSIAN_SIGMA * tile)
    gaussian = np.exp(-(centered**2) / 2)
    total = np.zeros(max(length, tile))
    for start in starts:
        total[start : start + tile] += gaussian
    return [(gaussian / total[start : start + tile]).astype(np.float32) for start in starts]


def fitting_tile(tile: Sequence[int], shape: Sequence[int], align: int) -> tuple[int, ...]:
    """The tile, no larger along any axis than a short image needs."""
    return tuple(min(edge, round_up(length, align)) for edge, length in zip(tile, shape, strict=True))
