"""Tensors that a model cannot take over are found before any of its weights is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import unetzoo
from unetzoo.checkpoints.loading import load_checkpoint
from unetzoo.errors import CheckpointError


def model() -> unetzoo.DenseModel:
    return unetzoo.create("unet", tiny=True)


def last(state: dict[str, Any]) -> str:
    return [key for key in state if key.endswith("weight")][-1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "quantized"),
        (lambda t: t.to("meta"), "meta device"),
        (lambda t: torch.nested.nested_tensor([t, t]), "nested"),
        (lambda t: t.to(torch.complex64), "torch.complex64"),
        (lambda t: t.to(torch.int32), "torch.int32"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*deprecated.*")
def test_a_tensor_without_plain_values_is_refused_and_nothing_is_copied(
    change: Callable[[torch.Tensor], torch.Tensor], told: str
) -> None:
    target, source = model(), model().state_dict()
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    key = last(source)
    with pytest.raises(CheckpointError, match=f"(?s){key}.*{told}"):
        load_checkpoint(target, {**source, key: change(source[key])})
    assert all(torch.equal(before[key], tensor) for key, tensor in target.state_dict().items())


def test_other_floating_types_are_converted_as_torch_does_it() -> None:
    target, source = model(), model().state_dict()
    load_checkpoint(target, {key: t.half() if t.is_floating_point() else t for key, t in source.items()})
    key = last(source)
    assert torch.equal(target.state_dict()[key], source[key].half().float())


def test_a_checkpoint_that_holds_itself_or_odd_keys_is_refused(tmp_path: Path) -> None:
    endless: dict[Any, Any] = {1: torch.ones(2), (2, 3): torch.ones(1)}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    for source in (endless, tmp_path / "endless.pt", {1: torch.ones(2)}):
        with pytest.raises(CheckpointError):
            load_checkpoint(model(), source)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_loaded_with_a_warning_that_names_them(value: float) -> None:
    source = model().state_dict()
    key = last(source)
    with pytest.warns(UserWarning, match=f"not finite, of a diverged run or a damaged file: {key}"):
        load_checkpoint(model(), {**source, key: torch.full_like(source[key], value)})
