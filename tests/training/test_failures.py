"""Runs that cannot go on say why, and leave what they had."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unetzoo.errors import TrainingError
from unetzoo.training.data import load_data
from unetzoo.training.learner import Learner
from unetzoo.training.loop import train
from unetzoo.training.recipe import read_recipe
from unetzoo.training.runs import RunFolder
from unetzoo.training.sampling import Batches
from unetzoo.training.state import Launch, load_state


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_files_and_keeps_the_last_good_checkpoint(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = read_recipe(nuclei_recipe(optimizer={"name": "sgd", "lr": 1e25}, checkpoint_every=1))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2 \(epoch 1, step 2 of 4\)") as error:
        train(recipe, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    batches = list(Batches(8, 2, seed=0))
    names = [entry.name for entry in load_data(recipe.data).splits["train"].entries]
    assert f"over the files {', '.join(names[index] for index in batches[1])};" in str(error.value)
    assert str(folder.last) in str(error.value)
    position, state = load_state(folder.last, Launch(1))
    assert position.total == 1
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(learner: Learner, *_: object) -> torch.Tensor:
        return sum(parameter.sqrt().nan_to_num().sum() for parameter in learner.model.parameters())

    monkeypatch.setattr(Learner, "_loss", spoil)
    with pytest.raises(TrainingError, match="the norm of the gradient is"):
        train(read_recipe(nuclei_recipe()), tmp_path / "run")
    assert RunFolder(tmp_path / "run").rows() == []


def test_a_crop_that_does_not_fit_into_memory_is_told_with_what_to_lower(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = read_recipe(nuclei_recipe(), {"data": {"crop": 3_000_000}})
    with pytest.raises(TrainingError, match=r"out of memory: Unable to allocate.*\n.*batch_size \(now 2.*data\.crop"):
        train(recipe, tmp_path / "run")


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_a_network_that_does_not_fit_into_memory_is_told_with_what_to_lower(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def exhaust(*_: object) -> None:
        if kind == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        torch.empty(2**58)

    monkeypatch.setattr(Learner, "step", exhaust)
    with pytest.raises(TrainingError, match=r"out of memory: .*\n.*batch_size \(now 2.*gradient_checkpointing"):
        train(read_recipe(nuclei_recipe()), tmp_path / "run")


def test_a_disk_that_fills_up_stops_the_run_and_leaves_it_resumable(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_recipe(nuclei_recipe())
    train(recipe, tmp_path / "whole")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    begin = Learner.begin_epoch

    def fill_up(learner: Learner, epoch: int) -> None:
        begin(learner, epoch)
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, limit[1]))

    monkeypatch.setattr(Learner, "begin_epoch", fill_up)
    try:
        with pytest.raises(TrainingError, match=r"could not be written.*--resume"):
            train(recipe, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    monkeypatch.undo()
    train(recipe, tmp_path / "run", resume=True)
    assert RunFolder(tmp_path / "run").rows() == RunFolder(tmp_path / "whole").rows()
