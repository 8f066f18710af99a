"""The example that trains a diffusion model, and the one that segments with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, EXAMPLES / script, *arguments], check=True, capture_output=True, timeout=600)


def test_ddpm_draws_a_grid_of_samples_and_its_unet_starts_a_segmentation(tmp_path: Path) -> None:
    small = ("--size", "16", "--steps", "2", "--batch-size", "2", "--timesteps", "3", "--samples", "7")
    run("ddpm.py", *small, "--device", "cpu", "--out", str(tmp_path / "ddpm"))
    grid = Image.open(tmp_path / "ddpm" / "samples.png")
    assert grid.size == (6 * 16 * 3, 2 * 16 * 3)
    quick = ("--limit", "2", "--epochs", "1", "--crop", "32", "--batch-size", "2", "--device", "cpu")
    denoiser = str(tmp_path / "ddpm" / "unet")
    run("diffusion_segmentation.py", *quick, "--denoiser", denoiser, "--out", str(tmp_path / "segmentation"))
    assert (tmp_path / "segmentation" / "metrics.json").is_file()
