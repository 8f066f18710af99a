"""Several processes train as one with their whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unetzoo.errors import ConfigError
from unetzoo.training.loop import train
from unetzoo.training.recipe import read_recipe
from unetzoo.training.runs import RunFolder

BATCH_NORM = {"name": "double_conv", "norm": "batch"}


def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    # Every sample has another share of ignored pixels; Dice and Lovasz are no means over pixels.
    network = {"name": "unet", "encoder": {"name": "conv", "channels": [4, 8]}, "block": BATCH_NORM}
    recipe = nuclei_recipe(
        model=network,
        augment={"affine": {"degrees": 45, "translate": 0.4}, "colour": {"noise": 0.1}},
        loss={"cross_entropy": {"class_weights": [1, 2, 3]}, "dice": 1, "lovasz": 1},
        freeze_encoder_epochs=1,
    )
    launch = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no -m unetzoo train"
    out = tmp_path / "two"
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *launch.split(), str(recipe), "--out", str(out), "--cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    train(read_recipe(recipe, {"batch_size": 4}), tmp_path / "one")
    one, two = RunFolder(tmp_path / "one").rows(), RunFolder(out).rows()
    assert [row["step"] for row in two] == [1, 2, 2, 3, 4, 4]
    for alone, together in zip(one, two, strict=True):
        del alone["iou" if "iou" in alone else "epoch"], together["iou" if "iou" in together else "epoch"]
        assert together == pytest.approx(alone, rel=2e-6)


def test_a_launch_that_starts_one_process_of_several_is_refused(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `accelerate launch --cpu --num_processes 2` gives the one process that it starts.
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(ConfigError, match="one process of several"):
        train(read_recipe(nuclei_recipe()), tmp_path / "run")
    assert not (tmp_path / "run").exists()
