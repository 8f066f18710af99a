"""`unetzoo evaluate`: the scores of a trained network on a split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import unetzoo
from unetzoo.cli import app
from unetzoo.errors import ConfigError

NUCLEI = Path(__file__).parents[2] / "examples" / "data" / "nuclei"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that ended with an untrained network."""
    folder = tmp_path / "run"
    folder.mkdir()
    small = {"name": "unet", "encoder": {"name": "conv", "channels": [4, 8]}}
    data = {"preset": "nuclei", "root": str(NUCLEI), "limit": 3}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"model": small, "data": data}))
    model = unetzoo.create("unet", num_classes=3, encoder=small["encoder"]).requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_()  # predictions of every class
    unetzoo.save_pretrained(model, folder / "model")
    return folder


def scores(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["evaluate", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_the_iou_is_over_all_pixels_of_the_split_together(run: Path) -> None:
    model = unetzoo.from_pretrained(run / "model")
    hits, union = np.zeros(3), np.zeros(3)
    for name in (NUCLEI / "val.txt").read_text().split()[:3]:
        image, truth = (np.array(Image.open(NUCLEI / folder / f"{name}.png")) for folder in ("images", "masks"))
        x = torch.from_numpy(image).float().expand(3, -1, -1)
        with torch.no_grad():
            predicted = model(((x - x.mean()) / x.std(correction=0))[None])[0].argmax(0).numpy()
        for label in range(3):
            hits[label] += ((predicted == label) & (truth == label)).sum()
            union[label] += ((predicted == label) | (truth == label)).sum()
    found = scores(str(run))
    assert [found["classes"][name]["iou"] for name in ("background", "nucleus", "border")] == pytest.approx(
        list(hits / union), abs=2e-4
    )
    assert found["mean_iou"] == pytest.approx((hits / union).mean(), abs=2e-4)
    assert (found["split"], found["images"]) == ("val", 3)
    assert set(found["classes"]["border"]) == {"iou", "dice", "boundary_f1"}


def test_tiles_that_are_cut_exactly_give_the_scores_of_whole_images(run: Path) -> None:
    whole = scores(str(run), "--fast", "--set", "limit=1")
    tiled = scores(str(run), "--fast", "--set", "limit=1", "--tile", "160")
    assert tiled["pixel_accuracy"] == pytest.approx(whole["pixel_accuracy"], abs=1e-4)
    assert scores(str(run), "--fast", "--set", "limit=1", "--tta", "flips") != whole


def test_other_data_is_named_by_a_folder_or_a_recipe(run: Path, tmp_path: Path) -> None:
    assert scores(str(run), "--fast", "--data", str(NUCLEI)) == scores(str(run), "--fast")
    other = {"model": "unet", "data": {"preset": "nuclei", "root": str(NUCLEI), "limit": 1}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert scores(str(run), "--fast", "--data", str(tmp_path / "other.yaml"))["images"] == 1


def test_the_scores_are_written_where_told(run: Path, tmp_path: Path) -> None:
    printed = scores(str(run), "--fast", "--out", str(tmp_path / "scores.json"))
    assert json.loads((tmp_path / "scores.json").read_text()) == printed


def test_a_split_that_does_not_exist_is_refused_by_its_name(run: Path) -> None:
    with pytest.raises(ConfigError, match="no split 'tset'"):
        CliRunner().invoke(app, ["evaluate", str(run), "--split", "tset"], catch_exceptions=False)
