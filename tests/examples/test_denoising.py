"""The denoising script, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import unetzoo

SCRIPT = Path(__file__).parents[2] / "examples" / "denoising.py"


def denoising(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)


def test_a_short_training_takes_noise_off_images_it_has_not_seen(tmp_path: Path) -> None:
    done = denoising("--steps", "40", "--width", "8", "--batch-size", "4", "--device", "cpu", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    ratios = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["psnr"]
    # White noise of deviation 25 of 255 is a mean squared error of (25 / 255)^2.
    assert ratios["noisy"] == pytest.approx(20.17, abs=0.05)
    assert ratios["denoised"] > ratios["noisy"] + 3
    assert unetzoo.from_pretrained(tmp_path / "model").num_classes == 1
    with Image.open(tmp_path / "denoised.png") as picture:
        assert min(picture.size) > 100


def test_a_list_that_names_a_missing_image_ends_with_exit_code_2_and_the_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "train.txt").write_text("nowhere\n", encoding="utf-8")
    done = denoising("--root", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "out").exists()
