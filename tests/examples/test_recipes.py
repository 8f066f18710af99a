"""Every recipe of the examples trains: on the data beside it, or on real images laid out as its data set is."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unetzoo
from unetzoo.training import read_recipe, train

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = sorted((EXAMPLES / "recipes").glob("*.yaml"))
NUCLEI = EXAMPLES / "data" / "nuclei"
COUNT = 4
SMALL = {"epochs": 1, "batch_size": 2, "evaluate_every": 1, "schedule": "constant", "tensorboard": False}


def samples() -> list[tuple[Image.Image, np.ndarray]]:
    """Images of nuclei, and where the nuclei are."""
    names = (NUCLEI / "train.txt").read_text(encoding="utf-8").split()[:COUNT]
    found = []
    for name in names:
        with (
            Image.open(NUCLEI / "images" / f"{name}.png") as picture,
            Image.open(NUCLEI / "masks" / f"{name}.png") as m,
        ):
            found.append((picture.convert("RGB"), np.asarray(m) > 0))
    return found


def write(path: Path, pixels: Image.Image | np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)


def lay_out_isbi2012(root: Path) -> None:
    for number, (image, inside) in enumerate(samples()):
        write(root / "images" / f"{number:02}.png", image.convert("L"))
        write(root / "labels" / f"{number:02}.png", np.uint8(255) * inside)


def lay_out_mvtec_ad(root: Path) -> None:
    for number, (image, inside) in enumerate(samples()):
        kind = "good" if number % 2 else "scratch"
        write(root / "test" / kind / f"{number:03}.png", image)
        if kind == "scratch":
            write(root / "ground_truth" / kind / f"{number:03}_mask.png", np.uint8(255) * inside)


def lay_out_chiu2015_oct(root: Path) -> None:
    for number, (image, inside) in enumerate(samples()):
        write(root / "images" / f"Subject_{number:02}_00.png", image.convert("L"))
        write(root / "masks" / f"Subject_{number:02}_00.png", np.uint8(3) * inside)


def lay_out_msrc_v2(root: Path) -> None:
    for number, (image, inside) in enumerate(samples()):
        write(root / "Images" / f"1_{number}_s.bmp", image)
        colors = np.where(inside[..., None], (0, 0, 128), (0, 128, 0)).astype(np.uint8)  # cow on grass
        write(root / "GroundTruth" / f"1_{number}_s_GT.bmp", colors)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "isbi2012": lay_out_isbi2012,
    "mvtec_ad": lay_out_mvtec_ad,
    "chiu2015_oct": lay_out_chiu2015_oct,
    "msrc_v2": lay_out_msrc_v2,
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_trains_and_scores(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    data: dict[str, object] = {"limit": 2}
    for preset, lay_out in LAYOUTS.items():
        if f"preset: {preset}" in text:
            lay_out(tmp_path / "data")
            data |= {"root": str(tmp_path / "data"), "splits": {"train": 0.5, "val": 0.5}}
    recipe = read_recipe(path, {**SMALL, "data": data, **({} if "ndim: 3" in text else {"data": {**data, "crop": 64}})})
    result = train(recipe, tmp_path / "run", cpu=True)
    assert result.steps == 1
    assert result.scores is not None
    assert 0 <= result.scores.mean_iou <= 1
    (loss,) = [row["loss"] for row in map(json.loads, (tmp_path / "run" / "metrics.jsonl").open()) if "loss" in row]
    assert math.isfinite(loss)
    assert unetzoo.from_pretrained(result.folder).num_classes == recipe.model.options.get(
        "num_classes", len(recipe.data.table)
    )


def test_a_recipe_without_the_folder_of_its_data_says_which_key_to_set() -> None:
    with pytest.raises(unetzoo.ConfigError, match=r"data\.root"):
        read_recipe(EXAMPLES / "recipes" / "membranes.yaml")


def test_compare_puts_every_value_and_seed_into_one_table(tmp_path: Path) -> None:
    small = [f"{key}={value}" for key, value in {**SMALL, "data.limit": 2, "data.crop": 32}.items()]
    script = EXAMPLES.parent / "benchmarks" / "compare.py"
    command = [sys.executable, script, EXAMPLES / "recipes" / "nuclei_unet.yaml", "--cpu"]
    command += [
        "--vary",
        "model.decoder.skip=concat",
        "model.decoder.skip=none",
        "--seeds",
        "0",
        "1",
        "--out",
        tmp_path,
    ]
    command += [part for change in [*small, "model.encoder.channels=[4, 8]"] for part in ("--set", change)]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert [len(scores[f"model.decoder.skip={value}"]) for value in ("concat", "none")] == [2, 2]
    saved = [
        unetzoo.from_pretrained(tmp_path / f"model.decoder.skip-{value}" / "0" / "model")
        for value in ("concat", "none")
    ]
    with_skips, without = (sum(p.numel() for p in model.parameters()) for model in saved)
    assert with_skips > without
    first = [score["mean_iou"] for score in scores["model.decoder.skip=concat"]]
    assert f"{sum(first) / 2:.4f}" in (tmp_path / "table.md").read_text(encoding="utf-8")
