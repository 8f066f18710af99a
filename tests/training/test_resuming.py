"""Runs that are killed and resumed end as those that were never interrupted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from unetzoo.errors import CheckpointError, ConfigError
from unetzoo.training.loop import train
from unetzoo.training.recipe import read_recipe
from unetzoo.training.runs import RunFolder
from unetzoo.training.state import Launch, Position, load_state, save_state

EVERYTHING = {
    "augment": {"flip": ["width"], "elastic": {"deviation": 3.0}, "color": {"noise": 0.1}},
    "schedule": {"name": "cosine", "warmup": 0.5},
    "accumulate": 2,
    "clip": 1.0,
    "ema": 0.9,
    "epochs": 4,
    "batch_size": 1,
    "checkpoint_every": 2,
}
DIE_WHILE_SAVING = """
import os, signal, sys, torch
from unetzoo.cli import main
whole, saved = torch.save, []
def half(state, file):
    saved.append(file.name)
    whole(state, file)
    if len(saved) == 3:
        file.truncate(file.tell() // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
sys.argv[0] = "unetzoo"
main()
"""


def start(*command: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)


def steps(out: Path) -> list[dict[str, object]]:
    return RunFolder(out).rows()


def test_a_run_killed_while_it_saves_and_again_in_mid_epoch_ends_with_the_weights_of_one_never_stopped(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = nuclei_recipe(**EVERYTHING)
    train(read_recipe(recipe), tmp_path / "whole")

    out = tmp_path / "killed"
    arguments = ["train", str(recipe), "--out", str(out), "--resume"]
    assert start("-c", DIE_WHILE_SAVING, *arguments).wait() == -signal.SIGKILL
    unfinished = [path.name for path in RunFolder(out).last.parent.iterdir() if path.name.startswith(".last.pt.")]
    assert len(unfinished) == 1
    left = len(steps(out))

    process = start("-m", "unetzoo", *arguments)
    deadline = time.monotonic() + 120
    while len(steps(out)) < left + 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL

    train(read_recipe(recipe), out, resume=True)
    expected, ended = (
        safetensors.torch.load_file(folder / "model.safetensors")
        for folder in (tmp_path / "whole/model", out / "model")
    )
    assert all(torch.equal(ended[key], tensor) for key, tensor in expected.items())
    assert steps(out) == steps(tmp_path / "whole")
    assert not list(out.rglob(".last.pt.*"))


def test_a_folder_that_holds_a_run_is_not_written_over(nuclei_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = nuclei_recipe(epochs=1)
    train(read_recipe(recipe), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        train(read_recipe(recipe), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"another recipe: epochs is 3, was 1; optimizer\.lr is 0\.5, was 0\.001"):
        train(read_recipe(recipe, {"optimizer": {"lr": 0.5}, "epochs": 3}), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_the_recipe_in_the_folder_resumes_the_run_as_the_one_it_was_written_from_does(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    train(read_recipe(nuclei_recipe(**EVERYTHING), {"epochs": 1, "schedule": {"warmup": 0}}), tmp_path / "run")
    before = steps(tmp_path / "run")
    result = train(read_recipe(tmp_path / "run" / "recipe.yaml"), tmp_path / "run", resume=True)
    assert result.steps == 4
    assert steps(tmp_path / "run") == before


def test_a_recipe_made_in_python_with_a_relative_folder_of_data_can_be_resumed(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = read_recipe(nuclei_recipe(epochs=1))
    (tmp_path / "data").symlink_to(given.data.root)
    monkeypatch.chdir(tmp_path)
    relative = given.model_copy(update={"data": given.data.model_copy(update={"root": Path("data")})})
    result = train(relative, tmp_path / "run")
    monkeypatch.chdir("/")
    again = train(read_recipe(tmp_path / "run" / "recipe.yaml"), tmp_path / "run", resume=True)
    assert again.steps == result.steps


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (Launch(2), Launch(1), "had 2 processes, this one has 1 process"),
        (Launch(2, sharded=True), Launch(2), "had 2 sharded processes, this one has 2 processes"),
    ],
)
def test_a_checkpoint_of_another_launch_is_refused(tmp_path: Path, before: Launch, now: Launch, told: str) -> None:
    save_state(tmp_path / "last.pt", Position(), {}, before)
    with pytest.raises(CheckpointError, match=told):
        load_state(tmp_path / "last.pt", now)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.pt: not a checkpoint"):
        load_state(tmp_path / "last.pt", Launch(1))


def test_a_disk_that_is_full_leaves_the_checkpoint_before_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, Position(total=1), {"weights": torch.zeros(10_000)}, Launch(1))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written.*the one before is kept"):
            save_state(path, Position(total=2), {"weights": torch.ones(10_000)}, Launch(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    position, learner = load_state(path, Launch(1))
    assert position.total == 1
    assert torch.equal(learner["weights"], torch.zeros(10_000))
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_second_run_in_the_folder_of_a_living_one_is_refused(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = read_recipe(nuclei_recipe(model="unet"))
    with (
        RunFolder(tmp_path / "run").held(recipe, resume=False),
        pytest.raises(ConfigError, match="run is being written by another process"),
    ):
        train(recipe, tmp_path / "run", cpu=True)


def test_a_run_is_not_resumed_on_changed_data_unless_that_is_asked_for(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    given, out = nuclei_recipe(epochs=1), tmp_path / "run"
    source, copy = read_recipe(given).data.root, tmp_path / "copy"
    shutil.copytree(source, copy)
    recipe = read_recipe(given, {"data": {"root": str(copy)}})
    train(recipe, out, cpu=True)
    mask = sorted(path for path in copy.rglob("*") if path.is_file() and "mask" in str(path))[0]
    content = np.asarray(Image.open(mask)).copy()
    content[:8, :8] = content.max() - content[:8, :8]
    Image.fromarray(content).save(mask)
    with pytest.raises(ConfigError, match="the data are not those that the run .* began with .*: changed "):
        train(recipe, out, resume=True, cpu=True)
    train(recipe, out, resume=True, changed_data=True, cpu=True)
    train(recipe, out, resume=True, cpu=True)
    (out / "data.json").write_text("[" * 5000)
    with pytest.raises(ConfigError, match="no record of a run's data"):
        train(recipe, out, resume=True, cpu=True)
