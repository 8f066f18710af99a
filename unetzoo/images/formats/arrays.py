"""Arrays in files: `.npy` and Zarr in windows, `.npz` whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unetzoo.errors import InputError
from unetzoo.images.image import ArrayLike, Image, Role

SUFFIXES = (".npy", ".npz", ".zarr")


def open(path: Path, ndim: int, role: Role) -> Image:
    """Open an array (*spatial) or (*spatial, C); of an archive the one named `image` or `mask`, or the only one."""
    suffix = path.suffix.lower()
    array: ArrayLike
    if suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    elif suffix == ".zarr":
        import zarr

        array = zarr.open_array(path, mode="r")
    else:
        array = _from_archive(path, role)
    return Image(array, "none" if len(array.shape) == ndim else "last")


def _from_archive(path: Path, role: Role) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        name = "image" if role == "image" else "mask"
        if name in archive:
            return archive[name]
        if len(archive.files) == 1:
            return archive[archive.files[0]]
        names = ", ".join(archive.files)
        raise InputError(f"{path}: expected an array named {name!r}, or one array alone; got {names}")
