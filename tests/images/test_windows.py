"""Windows of a file hold what the whole of it holds, whichever way it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetzoo.images.opening import open_source
from unetzoo.images.whole import read_pixels

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GRAY = RGB[..., 0]
PALETTE = RNG.integers(0, 65536, (3, 256), np.uint16)
FILES = {
    "gray.tif": lambda path: tifffile.imwrite(path, GRAY),
    "rgb.tif": lambda path: tifffile.imwrite(path, RGB, photometric="rgb", tile=(16, 16), compression="zlib"),
    "planar.tif": lambda path: tifffile.imwrite(
        path, np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"
    ),
    "palette.tif": lambda path: tifffile.imwrite(path, GRAY, photometric="palette", colormap=PALETTE),
    "float.tif": lambda path: tifffile.imwrite(path, GRAY.astype(np.float32)),
    "bands.tif": lambda path: tifffile.imwrite(
        path, RNG.integers(0, 5000, (5, 20, 30), np.uint16), photometric="minisblack", metadata={"axes": "CYX"}
    ),
    "bilevel.tif": lambda path: tifffile.imwrite(path, GRAY > 128, photometric="minisblack"),
    "rgb.png": lambda path: Image.fromarray(RGB).save(path),
    "palette.png": lambda path: Image.fromarray(RGB).quantize(16).save(path),
    "opacity.png": lambda path: Image.fromarray(np.dstack([RGB, GRAY])).save(path),
    "sixteen.png": lambda path: Image.fromarray(GRAY.astype(np.uint16) * 257).save(path),
    "a.npz": lambda path: np.savez(path, image=RGB),
}


@pytest.mark.parametrize("name", FILES)
def test_a_window_is_cut_from_the_whole(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    whole = np.moveaxis(read_pixels(tmp_path / name), -1, 0)
    image = open_source(tmp_path / name, ndim=2)
    assert (image.channels, image.shape) == (len(whole), whole.shape[1:])
    window = image.read((slice(3, 19), slice(5, 30)))
    np.testing.assert_array_equal(window, whole[:, 3:19, 5:30])
    assert window.dtype == whole.dtype == image.dtype
