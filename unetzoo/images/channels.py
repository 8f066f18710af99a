"""Opacity, orientation and colors: what files say about their pixels beside the values."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from unetzoo.images.image import Array


def without_opacity(array: Array, path: Path) -> Array:
    """Drop the last channel of (H, W, C), which the file declares as opacity, with one notice."""
    warnings.warn(f"{path.parent}: opacity channels of images are left out, as in {path.name}", stacklevel=2)
    return array[..., :-1] if array.shape[-1] > 2 else array[..., 0]


def upright(array: Array, orientation: int) -> Array:
    """Turn pixels (H, W, ...) as EXIF and TIFF tag 274 say, so that row 0 is the visual top and column 0 the left.

    Raises ValueError for a number outside 1 to 8.
    """
    if not 1 <= orientation <= 8:
        raise ValueError(f"orientation {orientation}; expected 1 to 8")
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
