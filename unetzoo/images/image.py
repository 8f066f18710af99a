"""An image that is read in windows: pixels, channels, and place in space."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from unetzoo.errors import InputError
from unetzoo.images.windows import Window, index, mirror_source

Channels = Literal["first", "last", "none"]
Role = Literal["image", "mask", "color mask"]
"""What a file is read as: the palette of a `mask` is left alone, that of the others becomes colors."""
Array = np.ndarray[Any, np.dtype[Any]]
GeoTag = tuple[int, int, int, object, bool]


class ArrayLike(Protocol):
    """What is indexed like a NumPy array: an array, a memory map, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    def __getitem__(self, key: tuple[slice, ...], /) -> object:
        """One window, as an array or a scalar."""
        ...


@dataclass(frozen=True)
class Geometry:
    """The place of an image in space, to be passed on to what is predicted from it.

    Attributes:
        geo_tags: tags of a GeoTIFF.
        resolution: pixels per unit along x and y, and the unit, of a TIFF or picture.
        affine: of a NIfTI volume, voxel indices as read to millimeters.
        nifti: header and affine of the NIfTI file as stored, whose axes may be in another order.
    """

    geo_tags: tuple[GeoTag, ...] = ()
    resolution: tuple[float, float, str] | None = None
    affine: Array | None = field(default=None, compare=False)
    nifti: Any = field(default=None, compare=False, repr=False)


class Image:
    """An image of `(C, *spatial)` that is read in windows.

    Args:
        array: what holds the pixels.
        channels: where their channel axis is.
        geometry: the image's place in space.
        nodata: value of pixels that hold none, by the file's own word.
        path: the file, for messages.

    Attributes:
        channels: number of channels.
        shape: spatial size.
        dtype: type of the values.
    """

    def __init__(
        self,
        array: ArrayLike,
        channels: Channels = "first",
        geometry: Geometry | None = None,
        nodata: float | None = None,
        path: Path | None = None,
    ) -> None:
        self._array = array
        self._channels = channels
        whole = tuple(array.shape)
        self.channels = {"first": whole[0], "last": whole[-1], "none": 1}[channels]
        self.shape = {"first": whole[1:], "last": whole[:-1], "none": whole}[channels]
        self.dtype = np.dtype(getattr(array, "dtype", np.float32))
        self.geometry = geometry or Geometry()
        self.nodata = nodata
        self.path = path

    def is_held_in(self, array: Array) -> bool:
        """Whether the pixels may lie in the memory of `array`."""
        return isinstance(self._array, np.ndarray) and np.may_share_memory(self._array, array)

    def read(self, window: Window | None = None) -> Array:
        """The pixels of a window within the image, by default of the whole; `(C, *size)`, in the image's own type."""
        window = window or tuple(slice(0, length) for length in self.shape)
        picked = {"first": index(window), "last": (*window, slice(None)), "none": window}[self._channels]
        try:
            pixels = np.asarray(self._array[picked])
        except Exception as error:  # decoders meet broken files with errors of many kinds
            if self.path is None:
                raise
            raise InputError(f"{self.path}: cannot be read: {error}") from error
        return {"first": pixels, "last": np.moveaxis(pixels, -1, 0), "none": pixels[None]}[self._channels]

    def read_mirrored(self, window: Window) -> Array:
        """The pixels of a window that may reach beyond the image, which is extended by its mirror image."""
        clipped, padding = [], []
        for part, length in zip(window, self.shape, strict=True):
            inner = mirror_source(part, length)
            clipped.append(inner)
            padding.append((max(0, inner.start - part.start), max(0, part.stop - inner.stop)))
        pixels = self.read(tuple(clipped))
        pixels = np.pad(pixels, [(0, 0), *padding], mode="reflect")
        surplus = [max(0, part.start - inner.start) for part, inner in zip(window, clipped, strict=True)]
        wanted = tuple(slice(skip, skip + part.stop - part.start) for skip, part in zip(surplus, window, strict=True))
        return pixels[index(wanted)]
