"""Every network of the catalog has the parameters of its reference, loads its weights and gives its numbers."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from tests.devices import DEVICES
from tests.golden.rows import HERE, Row, rows

ROWS = rows()


@pytest.fixture(autouse=True)
def free_memory() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_network_equals_its_reference(row: Row, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model = row.build().to(device)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.record["params"]
    for deviation in row.deviations(row.outputs(model)):
        assert deviation.points <= deviation.atol, deviation
        assert deviation.statistics <= deviation.atol, deviation


def test_every_golden_file_belongs_to_a_row() -> None:
    assert {path.stem for path in HERE.glob("*.npz")} == {row.golden for row in ROWS}
