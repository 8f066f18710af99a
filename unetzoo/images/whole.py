"""Whole images and masks, as training needs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetzoo.errors import InputError
from unetzoo.images.formats import nifti
from unetzoo.images.image import Array
from unetzoo.images.opening import open_file, suffix_of
from unetzoo.preprocessing import LUMA, Order, convert, scale_unsigned


def read_pixels(path: Path, ndim: int = 2) -> Array:
    """An image as (*spatial, C), its values as in the file.

    Raises `InputError` naming the file if it cannot be read or has another number of axes.
    """
    array = np.moveaxis(open_file(path, ndim=ndim).read(), 0, -1)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: holds values that are not finite")
    return array


def read_image(path: Path, ndim: int = 2, channels: Order | None = None) -> npt.NDArray[np.float32]:
    """An image as (*spatial, C); default for `channels`: as in the file.

    Pictures of unsigned integers are divided by their type's maximum, to lie in 0 to 1; volumes keep their values.
    Raises `InputError` naming the file if it cannot be read or has another number of axes.
    """
    array = read_pixels(path, ndim)
    image = scale_unsigned(array) if ndim == 2 else array.astype(np.float32)
    if channels is None:
        return image
    try:
        return np.moveaxis(convert(np.moveaxis(image, -1, 0), channels), 0, -1)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_placement(paths: Sequence[Path]) -> dict[str, object]:
    """Spacing in mm and orientation of NIfTI volumes, from their headers: those that all of them share."""
    if not paths or any(suffix_of(path) not in nifti.SUFFIXES for path in paths):
        return {}
    import nibabel

    headers = [nibabel.nifti1.load(path) for path in paths]
    spacings = {tuple(round(float(edge), 4) for edge in header.header.get_zooms()[:3]) for header in headers}
    orientations = {"".join(nibabel.orientations.aff2axcodes(header.affine)) for header in headers}
    shared: dict[str, set[Any]] = {"spacing": spacings, "orientation": orientations}
    return {name: values.pop() for name, values in shared.items() if len(values) == 1}


def check_same_place(image: Path, mask: Path) -> None:
    """Raise `InputError` that names what differs where the geometry of two NIfTI volumes does."""
    if suffix_of(image) in nifti.SUFFIXES and suffix_of(mask) in nifti.SUFFIXES:
        found = nifti.differences(nifti.read_geometry(image), nifti.read_geometry(mask))
        if found:
            raise InputError(f"{mask}: the mask lies elsewhere than its image {image.name}: {found}")


def read_mask(path: Path, ndim: int = 2, *, colors: bool = False, gray: bool = False, void: int | None = None) -> Array:
    """A mask as values (*spatial), or as `colors` (H, W, 3); `gray` turns a colored mask into gray values.

    Pixels that the file declares as holding no data get the value `void`, where it is given.


    Raises `InputError` naming the file if it cannot be read or is of another kind.
    """
    file = open_file(path, ndim=ndim, role="color mask" if colors or gray else "mask")
    array = np.moveaxis(file.read(), 0, -1)
    if file.nodata is not None and void is not None and not (colors or gray):
        array = np.where(array == file.nodata, void, array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * (255 if colors or gray else 1)
    if colors:
        if array.dtype != np.uint8:
            raise InputError(f"{path}: expected a mask in 8-bit colors, got {array.dtype}")
        if array.shape[-1] not in (1, 3):
            raise InputError(f"{path}: expected a mask in colors, got {array.shape[-1]} channels")
        return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
    if array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == ndim + 1 and gray:
        if array.shape[-1] != 3:
            raise InputError(f"{path}: expected a gray or color mask, got {array.shape[-1]} channels")
        array = np.rint(array @ np.array(LUMA))
    if array.ndim != ndim:
        raise InputError(
            f"{path}: expected a mask with one value per pixel, got an array of shape {array.shape}; "
            "a mask in colors needs classes with their colors"
        )
    if array.dtype.kind == "f" and not gray:
        if not np.array_equal(array, np.round(array)):  # also refuses what is not finite
            raise InputError(f"{path}: expected a mask of whole numbers, got fractions")
        array = array.astype(np.int64)
    return array
