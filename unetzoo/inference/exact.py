"""Tiled prediction equal to the whole-image result: halos as wide as the network sees, stages where it sees far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unetzoo.errors import ConfigError
from unetzoo.inference.geometry import Tile, Window, batches, halo_tiles, index, scale
from unetzoo.inference.schedule import Stage
from unetzoo.inference.staging import Recording, replay

Read = Callable[[Sequence[Tile]], Tensor]


@dataclass(frozen=True)
class ExactPlan:
    """How a network is run on tiles so that nothing changes.

    Attributes:
        recording: the network's operations.
        stages: in the order they run; empty where whole tiles need no stages.
        halos: of every stage, pixels along each axis; zero for whole-image stages.
        splits: the strides that divide the maps into levels; those beyond the last are computed on the whole image.
    """

    recording: Recording
    stages: tuple[Stage, ...]
    halos: tuple[tuple[int, ...], ...]
    splits: tuple[int, ...]

    @property
    def halo(self) -> tuple[int, ...]:
        """The widest halo of all stages along each axis."""
        return tuple(max(along) for along in zip(*self.halos, strict=True))


class ExactRunner:
    """Runs all stages of a plan on one image.

    Args:
        network: the planned one, in evaluation mode.
        plan: of it.
        read: gives the image `(N, C, *seen)` of tiles that see regions of one size.
        shape: of the image; with stages, multiples of the recording's `align`.
        tile: what one run sees of the finest maps, at most; of each coarser level twice as much along each axis.
        batch_size: tiles a run.

    Attributes:
        steps: batches of the last stage, each of which finishes a part of the output.
        total: batches of all stages.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: ExactPlan,
        read: Read,
        shape: Sequence[int],
        tile: Sequence[int],
        batch_size: int,
    ) -> None:
        self._network = network
        self._plan = plan
        self._read = read
        self._shape = tuple(shape)
        self._store: dict[int, list[Tensor]] = {}
        self._batches: list[list[list[Tile]]] = []
        for level, halo in zip([stage.level for stage in plan.stages] or [0], plan.halos, strict=True):
            cores: list[Tile] = []
            if level is not None:
                core = core_of(halo, tile_at(level, tile), plan.recording.align)
                cores = halo_tiles(shape, core, halo, inside=True)
            self._batches.append(list(batches(cores, batch_size)))
        self.steps = len(self._batches[-1])
        self.total = sum(len(group) for group in self._batches)

    def run(self, done: int, tick: Callable[[], None]) -> Iterator[list[tuple[Window, Tensor]]]:
        """Yields, batch by batch of the last stage from number `done` on, windows and their logits `(C, *window)`."""
        for stage, group in zip(self._plan.stages[:-1], self._batches, strict=False):
            if stage.level is None:
                self._whole(stage)
            for batch in group:
                self._collect(self._tiled(stage, batch), batch)
                tick()
            for number in stage.drops & self._store.keys():
                del self._store[number]
        for batch in self._batches[-1][done:]:
            if self._plan.stages:
                logits = self._tiled(self._plan.stages[-1], batch)[self._plan.recording.output][0]
            else:
                with torch.inference_mode():
                    logits = self._network(self._read(batch))
            tick()
            yield [(tile.kept, values[index(tile.crop)]) for tile, values in zip(batch, logits, strict=True)]
        self._store.clear()

    def _tiled(self, stage: Stage, batch: Sequence[Tile]) -> dict[int, list[Tensor]]:
        def given(number: int) -> list[Tensor] | None:
            if number not in stage.reads:
                return None
            strides = self._plan.recording.operations[number].strides
            if strides is None:
                return [values.expand(len(batch), *values.shape[1:]) for values in self._store[number]]
            regions = [index(scale(tile.seen, strides), 2) for tile in batch]
            return [torch.cat([values[region] for region in regions]) for values in self._store[number]]

        image = self._read(batch) if stage.level == 0 else self._blank([t.stop - t.start for t in batch[0].seen])
        return replay(
            self._network, self._plan.recording, image, wanted=stage.wanted, targets=stage.targets, given=given
        )

    def _whole(self, stage: Stage) -> None:
        def given(number: int) -> list[Tensor] | None:
            if number not in stage.reads:
                return None
            if number in stage.drops:  # handed over, so that it is freed as soon as the network has used it
                return self._store.pop(number)
            return [values.clone() for values in self._store[number]]  # the network may change it in place

        results = replay(
            self._network,
            self._plan.recording,
            self._blank(self._shape),
            wanted=stage.wanted,
            targets=stage.targets,
            given=given,
        )
        self._store.update(results)

    def _blank(self, shape: Sequence[int]) -> Tensor:
        """An image without data, for stages that start from stored maps."""
        return torch.empty(1, self._plan.recording.in_channels, *shape, device="meta")

    def _collect(self, results: dict[int, list[Tensor]], batch: Sequence[Tile]) -> None:
        """Puts the kept cores of a batch's results into their whole maps."""
        for number, tensors in results.items():
            strides = self._plan.recording.operations[number].strides
            assert strides is not None  # make_schedule refuses tiled results without
            if number not in self._store:
                spatial = [length // stride for length, stride in zip(self._shape, strides, strict=True)]
                self._store[number] = [values.new_empty(1, values.shape[1], *spatial) for values in tensors]
            for whole, values in zip(self._store[number], tensors, strict=True):
                for tile, one in zip(batch, values, strict=True):
                    whole[0][index(scale(tile.kept, strides))] = one[index(scale(tile.crop, strides))]


def tile_at(level: int, tile: Sequence[int]) -> tuple[int, ...]:
    """Tile size at a level, in pixels of the image: coarser maps have room for more."""
    return tuple(edge * 2**level for edge in tile)


def core_of(halo: Sequence[int], tile: Sequence[int], align: Sequence[int]) -> tuple[int, ...]:
    """What a tile yields of what it sees; raises `ConfigError` if that is nothing."""
    core = tuple((seen - 2 * margin) // a * a for seen, margin, a in zip(tile, halo, align, strict=True))
    if min(core) <= 0:
        needed = tuple(2 * margin + a for margin, a in zip(halo, align, strict=True))
        raise ConfigError(f"a tile of {tuple(tile)} pixels is all halo; this network needs {needed} at least")
    return core
