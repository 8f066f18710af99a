"""Tiled prediction equal to the whole-image result: halos as wide as the network sees, stages where it sees far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from unetzoo.analysis.replay import replay
from unetzoo.analysis.stages import TilingStage
from unetzoo.images.windows import Window, index
from unetzoo.inference.plan.exact import ExactPlan, core_of, tile_at
from unetzoo.inference.plan.geometry import Tile, batches, halo_tiles, on_map

Read = Callable[[Sequence[Tile]], Tensor]


class ExactRunner:
    """Runs all stages of a plan on one image.

    Args:
        network: the planned one, in evaluation mode.
        plan: of it.
        read: gives the image `(N, C, *seen)` of tiles that see regions of one size.
        shape: of the image; beyond multiples of the recording's `align` it has the plan's remainder.
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
                cores = halo_tiles(shape, core_of(plan, halo, tile_at(level, tile)), halo, plan.recording.remainder)
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

    def _tiled(self, stage: TilingStage, batch: Sequence[Tile]) -> dict[int, list[Tensor]]:
        def given(number: int) -> list[Tensor] | None:
            if number not in stage.reads:
                return None
            operation = self._plan.recording.operations[number]
            if operation.strides is None:
                return [values.expand(len(batch), *values.shape[1:]) for values in self._store[number]]
            surplus = operation.surplus  # tiles end as the image does, at the same remainder
            regions = [index(on_map(tile.seen, operation.strides, surplus), 2) for tile in batch]
            return [torch.cat([values[region] for region in regions]) for values in self._store[number]]

        image = self._read(batch) if stage.level == 0 else self._blank([t.stop - t.start for t in batch[0].seen])
        return replay(
            self._network, self._plan.recording, image, wanted=stage.wanted, targets=stage.targets, given=given
        )

    def _whole(self, stage: TilingStage) -> None:
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
            operation = self._plan.recording.operations[number]
            assert operation.strides is not None  # make_schedule refuses tiled results without
            if number not in self._store:
                spatial = operation.map_size(self._shape)
                self._store[number] = [values.new_empty(1, values.shape[1], *spatial) for values in tensors]
            for whole, values in zip(self._store[number], tensors, strict=True):
                for tile, one in zip(batch, values, strict=True):
                    surplus = [
                        more if part.stop == length else 0
                        for more, part, length in zip(operation.surplus, tile.kept, self._shape, strict=True)
                    ]
                    kept, crop = (on_map(part, operation.strides, surplus) for part in (tile.kept, tile.crop))
                    whole[0][index(kept)] = one[index(crop)]
