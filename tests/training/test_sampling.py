"""Batches follow from seed and epoch, however many processes there are."""

from __future__ import annotations

import pytest

from unetzoo.errors import InputError
from unetzoo.training.sampling import Batches


def epoch(number: int, *, step: int = 0, **options: int) -> list[list[int]]:
    batches = Batches(**{"samples": 23, "batch_size": 2, "seed": 5, **options})
    batches.start(number, step)
    return list(batches)


def test_an_epoch_takes_no_sample_twice_and_leaves_out_less_than_one_step() -> None:
    taken = [index for batch in epoch(0, accumulate=3) for index in batch]
    assert len(taken) == len(set(taken)) == 18
    assert set(taken) < set(range(23))
    assert len(epoch(0)) == len(Batches(23, 2)) == 11


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=6)
    assert epoch(0, seed=1) != epoch(1, seed=0)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_take_the_batches_that_one_would_with_the_whole_batch(processes: int) -> None:
    shares = [epoch(2, processes=processes, rank=rank) for rank in range(processes)]
    together = [[index for batch in batches for index in batch] for batches in zip(*shares, strict=True)]
    assert together == epoch(2, batch_size=2 * processes)


def test_an_epoch_can_be_taken_up_at_any_step() -> None:
    assert epoch(1, step=2, accumulate=2) == epoch(1, accumulate=2)[4:]


def test_fewer_samples_than_a_step_takes_are_repeated_to_fill_it() -> None:
    (batch,) = epoch(0, samples=3, batch_size=8)
    assert len(batch) == 8
    assert {batch.count(index) for index in range(3)} == {2, 3}


def test_no_samples_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="no samples"):
        Batches(0, 2)
