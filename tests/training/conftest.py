"""Inputs that several tests of training share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

NUCLEI = Path(__file__).parents[2] / "examples" / "data" / "nuclei"


@pytest.fixture
def golden_image() -> Callable[[tuple[int, ...], str], torch.Tensor]:
    """Standard-normal float32 input that the golden files derive from a name and a shape alone."""

    def image(shape: tuple[int, ...], name: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{name}:{shape}".encode()).digest()[:8], "little")
        values = np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)
        return torch.from_numpy(values.astype(np.float32))

    return image


@pytest.fixture
def nuclei_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe that trains a tiny network, with dropout and batch normalization, on a few real nuclei."""

    def write(**changes: object) -> Path:
        recipe: dict[str, object] = {
            "model": {
                "name": "unet",
                "encoder": {"name": "conv", "channels": [4, 8]},
                "center": {"name": "block", "block": {"name": "identity", "dropout": 0.2}},
                "block": {"name": "double_conv", "norm": "batch"},
            },
            "data": {"preset": "nuclei", "root": str(NUCLEI), "crop": 32, "limit": 8},
            "epochs": 2,
            "batch_size": 2,
            "tensorboard": False,
        }
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**recipe, **changes}), encoding="utf-8")
        return path

    return write
