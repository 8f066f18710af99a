"""The saliency script, run as a user runs it, on a small U²-Net without training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import unetzoo

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOGRAPH = EXAMPLES / "data" / "vessels" / "images" / "Image_01L.jpg"
MASK = EXAMPLES / "data" / "vessels" / "masks" / "Image_01L.png"


def saliency(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / "saliency.py", "--model", "u2netp", "--device", "cpu", *options]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "u2netp.safetensors"
    save_file(unetzoo.create("u2netp").state_dict(), path)
    return path


def test_maps_and_cutouts_have_the_photographs_size_and_scores_are_those_of_the_map(
    weights: Path, tmp_path: Path
) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    with Image.open(MASK) as mask:
        drawn = np.asarray(mask.convert("L")) > 0
    Image.fromarray(np.uint8(255) * drawn).save(truth / "Image_01L.png")
    done = saliency(PHOTOGRAPH, "--weights", weights, "--truth", truth, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "Image_01L_saliency.png") as picture:
        found = np.asarray(picture)
    with Image.open(tmp_path / "out" / "Image_01L_cutout.png") as cutout, Image.open(PHOTOGRAPH) as photograph:
        assert cutout.mode == "RGBA"
        assert cutout.size == photograph.size
        np.testing.assert_array_equal(np.asarray(cutout)[..., 3], found)
    assert (found.min(), found.max()) == (0, 255)
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["photographs"]["Image_01L"]
    assert scores["iou"] == pytest.approx(((found > 127) & drawn).sum() / ((found > 127) | drawn).sum(), abs=1e-3)
    assert scores["mean_absolute_error"] == pytest.approx(np.abs(found / 255 - drawn).mean(), abs=2e-3)


def test_a_mask_of_another_size_ends_with_exit_code_2_and_both_sizes(weights: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "Image_01L.png")
    done = saliency(PHOTOGRAPH, "--weights", weights, "--truth", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "(5, 7)" in done.stderr
