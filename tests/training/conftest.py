"""Inputs that several tests of training share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture
def golden_image() -> Callable[[tuple[int, ...], str], torch.Tensor]:
    """Standard-normal float32 input that the golden files derive from a name and a shape alone."""

    def image(shape: tuple[int, ...], name: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{name}:{shape}".encode()).digest()[:8], "little")
        values = np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)
        return torch.from_numpy(values.astype(np.float32))

    return image
