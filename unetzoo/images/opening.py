"""Opening images: files of every format, arrays, PIL images and tensors."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unetzoo.errors import InputError
from unetzoo.images.formats import arrays, nifti, pictures, tiff
from unetzoo.images.image import Channels, Image, Role
from unetzoo.preprocessing import as_array

FORMATS = {suffix: module for module in (pictures, tiff, nifti, arrays) for suffix in module.SUFFIXES}
SUFFIXES = tuple(FORMATS)


def suffix_of(path: Path) -> str:
    """The suffix of a supported file in lower case, `.nii.gz` as one; empty for any other file."""
    name = path.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def open_file(path: Path, *, ndim: int, role: Role = "image") -> Image:
    """Open a file for reading in windows; formats that can only be decoded whole are.

    Raises `InputError` with the file's name for what cannot be read or has another number of axes.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    suffix = suffix_of(path)
    if not suffix:
        raise InputError(f"{path}: files of this kind are not read; supported: {', '.join(SUFFIXES)}")
    try:
        image = FORMATS[suffix].open(path, ndim, role)
    except ImportError as error:
        raise InputError(f"{path}: needs the package {error.name!r}: pip install 'unetzoo[train]'") from error
    except InputError:
        raise
    except Exception as error:  # decoders meet broken files with errors of many kinds
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
    image.path = path
    if image.dtype.kind not in "uifb":
        raise InputError(f"{path}: expected numbers, got {image.dtype}")
    if len(image.shape) != ndim:
        shape = (*image.shape, image.channels)
        raise InputError(f"{path}: expected a {ndim}-D image, with or without channels last; got shape {shape}")
    return image


def open_source(source: Any, *, ndim: int) -> Image:
    """Open a raw image as people have it: a path, an array with its channels last, a PIL image, or a tensor (C, *S)."""
    if isinstance(source, str | PathLike):
        return open_file(Path(fspath(source)), ndim=ndim)
    if isinstance(source, torch.Tensor):
        return open_image(source, ndim=ndim, channels="none" if source.ndim == ndim else "first")
    array = as_array(source)
    return open_image(array, ndim=ndim, channels="none" if array.ndim == ndim else "last")


def open_image(image: Any, *, ndim: int, channels: Channels | None = None) -> Image:
    """Open an image for reading in windows, without reading it.

    Args:
        image: an array, tensor, memory map or Zarr array; a path; or an `Image`, which is returned unchanged.
        ndim: number of spatial axes.
        channels: where the channel axis of an array, or of a file that holds one, is. Default: as a file says, first in
            arrays and in `.npy` and `.zarr`, and none where there are `ndim` axes.

    Raises:
        InputError: a number of axes or a kind of file that does not fit.
    """
    if isinstance(image, Image):
        return image
    path = Path(fspath(image)) if isinstance(image, str | PathLike) else None
    if path is not None:
        if path.suffix.lower() not in (".npy", ".zarr"):
            return open_file(path, ndim=ndim)
        if not path.exists():
            raise InputError(f"{path}: no such file")
        image = arrays.open(path, ndim, "image")._array
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else image
    axes = len(array.shape)
    if channels is None:
        channels = "none" if axes == ndim else "first"
    if axes != ndim + (channels != "none"):
        raise InputError(
            f"the image has shape {tuple(array.shape)} with channels={channels!r}; expected {ndim} spatial axes and "
            "one of channels: a single image, not a batch"
        )
    return Image(array if hasattr(array, "__getitem__") else np.asarray(array), channels, path=path)
