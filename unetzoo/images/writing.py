"""Writing labels and pictures whole: in the kind of file that the name says, in the place of their image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unetzoo.applied import Classes
from unetzoo.errors import InputError
from unetzoo.files import replacing
from unetzoo.images.formats import nifti
from unetzoo.images.image import Array, Geometry


def write_labels(labels: Array, path: Path, classes: Classes, geometry: Geometry) -> None:
    """Write labels `(*spatial)` whole: PNG with the classes' colors as its palette, TIFF, NIfTI, `.npy` or `.npz`.

    Raises `InputError` for a name of another kind, or labels that the format cannot hold.
    """
    name = path.name.lower()
    if not name.endswith((".png", ".tif", ".tiff", ".nii", ".nii.gz", ".npy", ".npz")):
        raise InputError(f"labels cannot be written as {path.name}; expected .png, .tif, .nii, .nii.gz, .npy or .npz")
    if name.endswith(".png") and (labels.ndim != 2 or labels.dtype != np.uint8):
        raise InputError(f"labels of {labels.ndim} axes and type {labels.dtype} cannot be a PNG; write .tif or .npz")
    with replacing(path) as temporary:
        if name.endswith(".png"):
            from PIL import Image as Picture

            picture = Picture.fromarray(labels, mode="L")
            picture.putpalette(classes.color(np.arange(256)).tobytes())
            picture.save(temporary, format="PNG")
        elif name.endswith((".tif", ".tiff")):
            import tifffile

            x, y, unit = geometry.resolution or (0.0, 0.0, "")
            tifffile.imwrite(
                temporary,
                labels,
                photometric="minisblack",
                compression="zlib",
                extratags=list(geometry.geo_tags),
                resolution=(x, y) if unit else None,
                resolutionunit=unit.upper() or None,
            )
        elif name.endswith((".nii", ".nii.gz")):
            nifti.save(labels, temporary, geometry)
        else:
            with temporary.open("wb") as file:
                np.save(file, labels) if name.endswith(".npy") else np.savez_compressed(file, mask=labels)


def write_picture(pixels: Array, path: Path) -> None:
    """Write red, green, blue (H, W, 3) of 8 bits as PNG."""
    from PIL import Image as Picture

    with replacing(path) as temporary:
        Picture.fromarray(pixels).save(temporary, format="PNG")
