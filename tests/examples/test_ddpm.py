"""The denoising example runs whole on a few small images, and its network begins a segmentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unetzoo.training import read_recipe, train

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a short run of the script has written."""
    out = tmp_path_factory.mktemp("ddpm")
    small = ("--size", "16", "--steps", "2", "--batch-size", "2", "--timesteps", "3", "--samples", "7")
    command = [sys.executable, EXAMPLES / "ddpm.py", *small, "--device", "cpu", "--out", out]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_ddpm_draws_a_grid_of_samples(denoiser: Path) -> None:
    with Image.open(denoiser / "samples.png") as grid:
        assert grid.size == (6 * 16 * 3, 2 * 16 * 3)


def test_its_network_begins_a_segmentation(denoiser: Path, tmp_path: Path) -> None:
    weights = denoiser / "unet" / "diffusion_pytorch_model.safetensors"
    still = {"rates": {"encoder": 0, "center": 0, "decoder": 0, "head": 0}, "optimizer": {"lr": 1e-30}}
    recipe = read_recipe(
        EXAMPLES / "recipes" / "nuclei_diffusion.yaml",
        {
            "model": {"checkpoint": str(weights)},
            "data": {"limit": 2, "crop": 32},
            "epochs": 1,
            "batch_size": 2,
            "tensorboard": False,
            **still,
        },
    )
    result = train(recipe, tmp_path, cpu=True)
    learned = load_file(result.folder / "model.safetensors")
    for name, tensor in load_file(weights).items():
        torch.testing.assert_close(learned[f"unet.{name}"], tensor)
    assert result.scores is not None
