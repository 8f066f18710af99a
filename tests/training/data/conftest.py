"""Small folders of images and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Write = Callable[[str, npt.NDArray[np.generic]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an array as a picture below the test's folder."""

    def save(name: str, array: npt.NDArray[np.generic]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
        return path

    return save


@pytest.fixture
def six(tmp_path: Path, write: Write) -> Path:
    """Six gray images a0 to a5 of 4 x 5 pixels, whose masks hold classes 0 and 1 and one pixel of void."""
    for number in range(6):
        mask = np.zeros((4, 5), np.uint8)
        mask[1:3, 1:3] = 1
        mask[0, 0] = 255
        write(f"images/a{number}.png", np.full((4, 5), 10 * number, np.uint8))
        write(f"masks/a{number}.png", mask)
    return tmp_path
