"""Images that are read window by window: arrays, tensors, memory maps, Zarr arrays and TIFF files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from unetzoo.errors import InputError
from unetzoo.images.reading import NIFTI, TIFF, read_pixels, suffix_of
from unetzoo.inference.plan.geometry import Window, index
from unetzoo.preprocessing import as_array

Channels = Literal["first", "last", "none"]
GeoTag = tuple[int, int, int, object, bool]


@dataclass(frozen=True)
class Geometry:
    """The place of an image in space: the tags of a GeoTIFF, the affine matrix of a NIfTI volume."""

    geo_tags: tuple[GeoTag, ...] = ()
    affine: np.ndarray | None = None


class ArrayLike(Protocol):
    """What is indexed like a numpy array: an array, a memory map, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    def __getitem__(self, key: tuple[slice, ...], /) -> object:
        """One window, as an array or a scalar."""
        ...


class Image:
    """An image of `(C, *spatial)` that is read in windows.

    Args:
        array: what holds the pixels.
        channels: where their channel axis is.
        geometry: the image's place in space.

    Attributes:
        channels: number of channels.
        shape: spatial size.
        dtype: type of the values.
        geometry: to be passed on.
    """

    def __init__(self, array: ArrayLike, channels: Channels = "first", geometry: Geometry | None = None) -> None:
        self._array = array
        self._channels = channels
        whole = tuple(array.shape)
        self.channels = {"first": whole[0], "last": whole[-1], "none": 1}[channels]
        self.shape = {"first": whole[1:], "last": whole[:-1], "none": whole}[channels]
        self.dtype = np.dtype(getattr(array, "dtype", np.float32))
        self.geometry = geometry or Geometry()

    def read(self, window: Window) -> np.ndarray:
        """The pixels of a window within the image; `(C, *size)`, in the image's own type."""
        if self._channels == "first":
            return np.asarray(self._array[index(window)])
        if self._channels == "last":
            whole_pixels = (*window, slice(None))
            return np.moveaxis(np.asarray(self._array[whole_pixels]), -1, 0)
        return np.asarray(self._array[window])[None]

    def read_mirrored(self, window: Window) -> np.ndarray:
        """The pixels of a window that may reach beyond the image, which goes on there as its mirror image."""
        clipped, padding = [], []
        for part, length in zip(window, self.shape, strict=True):
            inner = _mirror_source(part, length)
            clipped.append(inner)
            padding.append((max(0, inner.start - part.start), max(0, part.stop - inner.stop)))
        pixels = self.read(tuple(clipped))
        pixels = np.pad(pixels, [(0, 0), *padding], mode="reflect")
        surplus = [max(0, part.start - inner.start) for part, inner in zip(window, clipped, strict=True)]
        wanted = tuple(slice(skip, skip + part.stop - part.start) for skip, part in zip(surplus, window, strict=True))
        return pixels[index(wanted)]


def _mirror_source(part: slice, length: int) -> slice:
    """The part of an axis that holds all pixels which `part` shows, itself or mirrored at the image's ends."""
    start, stop = max(part.start, 0), min(part.stop, length)
    if part.start < 0:
        start, stop = 0, max(stop, min(length, 1 - part.start))
    if part.stop > length:
        start, stop = min(start, max(0, 2 * length - part.stop - 1)), length
    return slice(start, stop)


def open_image(
    image: np.ndarray | torch.Tensor | ArrayLike | Image | str | PathLike[str],
    *,
    ndim: int,
    channels: Channels | None = None,
) -> Image:
    """Opens an image for reading in windows, without reading it.

    Args:
        image: an array, tensor, memory map or Zarr array, or the path of a `.tif`, `.npy` or `.zarr`; an `Image` is
            returned as it is.
        ndim: number of spatial axes.
        channels: where the channel axis is. Default: as a TIFF's axes say; anything else is taken as channels
            first, or as without a channel axis if it has `ndim` axes.

    Raises:
        InputError: a number of axes or a kind of file that does not fit.
    """
    if isinstance(image, Image):
        return image
    geometry = Geometry()
    array: ArrayLike
    if isinstance(image, str | PathLike):
        path = Path(fspath(image))
        if path.suffix.lower() in (".tif", ".tiff"):
            array, own_channels, geometry = _open_tiff(path)
            channels = channels or own_channels
        else:
            array = _open_path(path)
    else:
        array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else image
    axes = len(array.shape)
    if channels is None:
        channels = "none" if axes == ndim else "first"
    if axes != ndim + (channels != "none"):
        raise InputError(
            f"the image has shape {tuple(array.shape)} with channels={channels!r}; expected {ndim} spatial axes and "
            "one of channels: a single image, not a batch"
        )
    return Image(array, channels, geometry)


def open_source(source: Any, *, ndim: int) -> Image:
    """Opens a raw image as people have it: a path of any kind that is read, an array, a PIL image or a tensor.

    Arrays have their channels last, tensors first. Formats that can only be decoded whole are.

    Raises:
        InputError: a file that cannot be read, or a number of axes that does not fit.
    """
    if isinstance(source, str | PathLike):
        return _open_file(Path(fspath(source)), ndim)
    if isinstance(source, torch.Tensor):
        return open_image(source, ndim=ndim, channels="none" if source.ndim == ndim else "first")
    array = as_array(source)
    return open_image(array, ndim=ndim, channels="none" if array.ndim == ndim else "last")


def _open_file(path: Path, ndim: int) -> Image:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    suffix = suffix_of(path)
    geometry = Geometry()
    try:
        if suffix in NIFTI:
            import nibabel

            volume = nibabel.nifti1.load(path)
            geometry = Geometry(affine=volume.affine)
            if suffix == ".nii":  # a compressed one can only be read from its beginning
                return Image(volume.dataobj, "none" if volume.ndim == ndim else "last", geometry)
        elif suffix in TIFF or path.suffix.lower() in (".npy", ".zarr"):
            return open_image(path, ndim=ndim)
    except ImportError:  # without zarr, a TIFF is read whole
        geometry = read_geo_tags(path) if suffix in TIFF else geometry
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # decoders meet broken files with errors of many kinds
        raise InputError(f"{path}: cannot be read: {error}") from error
    return Image(read_pixels(path, ndim), "last", geometry)


def _open_path(path: Path) -> ArrayLike:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".zarr":
        import zarr

        return zarr.open_array(path, mode="r")
    raise InputError(f"{path} cannot be read in windows; expected a name that ends in .tif, .tiff, .npy or .zarr")


def _open_tiff(path: Path) -> tuple[ArrayLike, Channels, Geometry]:
    import tifffile
    import zarr

    with tifffile.TiffFile(path) as tiff:
        axes: Sequence[str] = tiff.series[0].axes
        palette = tiff.pages.first.colormap
        if palette is not None:
            return (palette.T[tiff.series[0].asarray()] >> 8).astype(np.uint8), "last", Geometry()
    channels: Channels = "first" if axes[0] in "CS" else "last" if axes[-1] in "CS" else "none"
    pixels = zarr.open_array(tifffile.imread(path, aszarr=True, series=0, level=0), mode="r")
    return pixels, channels, read_geo_tags(path)


def read_geo_tags(path: Path) -> Geometry:
    """The tags that place a TIFF on the earth, as tifffile takes them for another file."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        tags = [tag for tag in tiff.pages[0].tags if tag.code in GEO_TAGS]
        return Geometry(tuple((tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags))


# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams (GeoTIFF 1.1)
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
