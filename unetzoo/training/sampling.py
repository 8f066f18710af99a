"""Which samples make up which batch: decided by the seed and the epoch alone, however many processes share the work."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from unetzoo.errors import InputError
from unetzoo.training.determinism import mixed


class Batches(Sampler[list[int]]):
    """The batches of one process, for `DataLoader(batch_sampler=)`.

    An epoch is a permutation of the samples, cut into steps of `processes * accumulate * batch_size` samples; the
    rest of it is left out, others in every epoch. Fewer samples than one step takes are repeated to fill it. All
    processes together see what one process with the whole batch would.

    Args:
        samples: how many there are.
        batch_size: samples of a batch of one process.
        accumulate: batches per step.
        seed: two samplers with one seed agree.
        rank, processes: which of how many processes this is.
    """

    def __init__(
        self, samples: int, batch_size: int, *, accumulate: int = 1, seed: int = 0, rank: int = 0, processes: int = 1
    ) -> None:
        if samples < 1:
            raise InputError("there are no samples to train on")
        self.samples = samples
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.steps = max(1, samples // (batch_size * accumulate * processes))
        self._epoch = self._first = 0

    def start(self, epoch: int, step: int = 0) -> None:
        """Make the next pass that of `epoch`, from its step `step` on."""
        self._epoch, self._first = epoch, step * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        whole = self.batch_size * self.processes
        needed = self.steps * self.accumulate * whole
        generator = torch.Generator().manual_seed(mixed(self.seed, self._epoch))
        order: list[int] = []
        while len(order) < needed:
            order += torch.randperm(self.samples, generator=generator).tolist()
        for batch in range(self._first, self.steps * self.accumulate):
            start = batch * whole + self.rank * self.batch_size
            yield order[start : start + self.batch_size]

    def __len__(self) -> int:
        return self.steps * self.accumulate - self._first
