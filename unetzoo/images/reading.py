"""Reading images and masks: PNG, JPEG, BMP, GIF and TIFF, NIfTI volumes, and NPZ archives of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from unetzoo.errors import InputError
from unetzoo.preprocessing import LUMA, PLAIN_MODES, Order, convert, scale_unsigned

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
TIFF = (".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
SUFFIXES = (*PICTURES, *TIFF, *NIFTI, ".npz")

Array = npt.NDArray[np.generic]
Role = Literal["image", "mask"]


def suffix_of(path: Path) -> str:
    """The suffix of a supported file in lower case, `.nii.gz` as one; empty for any other file."""
    name = path.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def read_pixels(path: Path, ndim: int = 2) -> Array:
    """An image as (*spatial, C), its values as in the file.

    Raises `InputError` naming the file if it cannot be read or has another number of axes.
    """
    array = _with_channels(_read(path, ndim, "image"), path, ndim)
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
    if not paths or any(suffix_of(path) not in NIFTI for path in paths):
        return {}
    import nibabel

    headers = [nibabel.nifti1.load(path) for path in paths]
    spacings = {tuple(round(float(edge), 4) for edge in header.header.get_zooms()[:3]) for header in headers}
    orientations = {"".join(nibabel.orientations.aff2axcodes(header.affine)) for header in headers}
    shared: dict[str, set[Any]] = {"spacing": spacings, "orientation": orientations}
    return {name: values.pop() for name, values in shared.items() if len(values) == 1}


def read_mask(path: Path, ndim: int = 2, *, colors: bool = False, gray: bool = False) -> Array:
    """A mask as values (*spatial), or as `colors` (H, W, 3); `gray` turns a colored mask into gray values.

    Raises `InputError` naming the file if it cannot be read or is of another kind.
    """
    array = _read(path, ndim, "mask", palette_as_color=colors or gray)
    if array.dtype == bool:
        array = array.astype(np.uint8) * (255 if colors or gray else 1)
    if colors:
        rgb = _with_channels(array, path, ndim)
        if rgb.dtype != np.uint8:
            raise InputError(f"{path}: expected a mask in 8-bit colors, got {rgb.dtype}")
        return np.repeat(rgb, 3, axis=-1) if rgb.shape[-1] == 1 else rgb[..., :3]
    if array.ndim == ndim + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == ndim + 1 and gray:
        array = np.rint(array[..., :3] @ np.array(LUMA))
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


def _read(path: Path, ndim: int, role: Role, *, palette_as_color: bool = True) -> Array:
    suffix = suffix_of(path)
    if suffix in PICTURES and ndim != 2:
        raise InputError(f"{path}: expected a volume, got a picture")
    try:
        if suffix in PICTURES:
            return _read_picture(path, palette_as_color=palette_as_color)
        if suffix in TIFF:
            return _read_tiff(path, ndim, palette_as_color=palette_as_color)
        if suffix in NIFTI:
            return _read_nifti(path)
        if suffix == ".npz":
            return _read_npz(path, role)
    except ImportError as error:
        raise InputError(f"{path}: needs the package {error.name!r}: pip install 'unetzoo[train]'") from error
    except InputError:
        raise
    # Decoders meet broken files with errors of many kinds.
    except Exception as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
    raise InputError(f"{path}: files of this kind are not read; supported: {', '.join(SUFFIXES)}")


def _read_picture(path: Path, *, palette_as_color: bool) -> Array:
    with Image.open(path) as picture:
        picture.load()
        plain = picture.mode in PLAIN_MODES or (picture.mode == "P" and not palette_as_color)
        array = np.asarray(picture if plain else picture.convert("RGB"))
    return array


def _read_tiff(path: Path, ndim: int, *, palette_as_color: bool) -> Array:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        array, axes = series.asarray(), series.axes
        palette = file.pages.first.colormap
    if palette is not None and palette_as_color:
        return (palette.T[array] >> 8).astype(np.uint8)
    if array.ndim == ndim + 1 and axes[0] in "SC" and axes[-1] != "S":
        array = np.moveaxis(array, 0, -1)
    elif array.ndim == ndim and "S" in axes:
        raise InputError(f"{path}: expected a volume, got a picture in color of shape {array.shape}")
    elif array.ndim == ndim + 1 and axes[-1] not in "SC":
        raise InputError(f"{path}: expected one {ndim}-D image, got a stack of shape {array.shape}")
    return array


def _read_nifti(path: Path) -> Array:
    import nibabel

    image = nibabel.load(path)
    if not isinstance(image, nibabel.spatialimages.SpatialImage):
        raise InputError(f"{path}: expected a volume, got {type(image).__name__}")
    return np.asanyarray(image.dataobj)


def _read_npz(path: Path, role: Role) -> Array:
    with np.load(path, allow_pickle=False) as archive:
        if role in archive:
            return archive[role]
        if len(archive.files) == 1:
            return archive[archive.files[0]]
        names = ", ".join(archive.files)
        raise InputError(f"{path}: expected an array named {role!r}, or one array alone; got {names}")


def _with_channels(array: Array, path: Path, ndim: int) -> Array:
    if array.dtype.kind not in "uifb":
        raise InputError(f"{path}: expected numbers, got {array.dtype}")
    if array.ndim == ndim:
        return array[..., None]
    if array.ndim == ndim + 1:
        return array
    raise InputError(f"{path}: expected a {ndim}-D image, with or without channels last; got shape {array.shape}")
