"""Learning rates over a run, against the formulas by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter

from unetzoo.training.schedules import ScheduleConfig, make_schedule


def rates(config: object, epochs: int = 4, steps_per_epoch: int = 5) -> list[list[float]]:
    """The rates of every step, for a group at 0.1 and one at a tenth of that."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.01)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    settings = TypeAdapter(ScheduleConfig).validate_python(config)
    schedule = make_schedule(settings, optimizer, epochs=epochs, steps_per_epoch=steps_per_epoch)
    taken = []
    for _ in range(epochs * steps_per_epoch):
        taken.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return taken


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        ("constant", 19, 1.0),
        ({"name": "constant", "warmup": 1}, 0, 0.01),
        ({"name": "constant", "warmup": 1}, 4, 0.01 + 0.99 * 4 / 5),
        ({"name": "constant", "warmup": 1}, 5, 1.0),
        ({"name": "step", "every": 1.5, "drop": 0.5}, 7, 1.0),
        ({"name": "step", "every": 1.5, "drop": 0.5}, 8, 0.5),
        ({"name": "step", "every": 1.5, "drop": 0.5}, 15, 0.25),
        ("cosine", 10, 0.5),
        ({"name": "cosine", "floor": 0.2}, 10, 0.6),
        ({"name": "cosine", "warmup": 2}, 15, 0.5),
        ({"name": "poly", "power": 0.9}, 15, 0.25**0.9),
        ({"name": "poly", "warmup": 2, "power": 2}, 15, 0.25),
    ],
)
def test_a_schedule_multiplies_the_rate_of_every_group_by_its_factor(config: object, step: int, factor: float) -> None:
    assert rates(config)[step] == pytest.approx([0.1 * factor, 0.01 * factor])


def test_one_cycle_rises_along_a_cosine_from_a_25th_to_the_rate_and_falls_to_nearly_nothing() -> None:
    taken = [first for first, _ in rates({"name": "one_cycle", "rise": 0.3}, epochs=20)]
    assert taken.index(max(taken)) == 30  # the peak is at 0.3 * 101 - 1 = 29.3, and the descent the flatter side
    assert taken[0] == pytest.approx(0.1 / 25)
    assert taken[10] == pytest.approx(0.004 + 0.096 * (1 - math.cos(math.pi * 10 / 29.3)) / 2)
    assert taken[-1] < 1e-4
    assert all(second == pytest.approx(first / 10) for first, second in rates("one_cycle"))
