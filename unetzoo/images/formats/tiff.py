"""TIFF, BigTIFF and GeoTIFF, through tifffile: windows where zarr is installed and the file allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unetzoo.errors import InputError
from unetzoo.images.channels import upright, without_opacity
from unetzoo.images.image import Array, Channels, Geometry, Image, Role

SUFFIXES = (".tif", ".tiff")
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams (GeoTIFF 1.1)
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
ORIENTATION, EXTRA_SAMPLES, NODATA = 274, 338, 42113
OPACITY = (1, 2)  # of ExtraSamples: associated and unassociated alpha
UNREAD = ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB", "LOGL", "LOGLUV", "CFA", "LINEAR_RAW")


def open(path: Path, ndim: int, role: Role) -> Image:
    """Open the largest image of a file, at full resolution; a palette is an index for masks and colors for images."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        number, series = max(enumerate(file.series), key=lambda item: item[1].size)
        page: Any = series.keyframe
        axes, photometric = series.axes, page.photometric.name
        geometry = _geometry(page)
        nodata = _nodata(page, path)
        if photometric in UNREAD:
            raise InputError(f"{path}: its colors are {photometric}, which are not read; convert the file to RGB")
        spatial = _check_axes(series.shape, axes, ndim, path)
        channels: Channels = "first" if spatial[0] else "last" if spatial[1] else "none"
        orientation = _tag(page, ORIENTATION) or 1
        opacity = channels != "none" and bool(set(_tuple(page.extrasamples)) & set(OPACITY))
        palette = page.colormap if photometric == "PALETTE" and role != "mask" else None
        plain = orientation == 1 and palette is None and not opacity and photometric not in ("MINISWHITE", "YCBCR")
        if plain and (lazy := _windows(path, number)) is not None:
            return Image(lazy, channels, geometry, nodata)
        array: Array = series.asarray()
    if palette is not None:
        array, channels = (palette.T[array] >> 8).astype(np.uint8), "last"
    elif channels == "first":
        array, channels = np.moveaxis(array, 0, -1), "last"
    if opacity:
        array = without_opacity(array, path)
        channels = "last" if array.ndim > ndim else "none"
    if photometric == "MINISWHITE" and role != "mask":
        array = _inverted(array, path)
    return Image(upright(array, orientation) if ndim == 2 else array, channels, geometry, nodata)


def _check_axes(shape: tuple[int, ...], axes: str, ndim: int, path: Path) -> tuple[bool, bool]:
    """Whether the channels come first, or last; refuses stacks and volumes that are not asked for."""
    first, last = axes[0] in "SC", axes[-1] in "SC"
    if len(shape) == ndim and "S" in axes:
        raise InputError(f"{path}: expected a volume, got a picture in color of shape {shape}")
    if len(shape) == ndim and not ("C" in axes and ndim == 3):
        return False, False
    if len(shape) == ndim:  # planes that tifffile takes for channels
        return False, False
    if len(shape) != ndim + 1 or not (first or last):
        raise InputError(f"{path}: expected one {ndim}-D image, got a stack of shape {shape}")
    return first and not last, last


def _windows(path: Path, series: int) -> Any:
    """The pixels as an array that is read in windows; None without zarr."""
    import tifffile

    try:
        import zarr

        return zarr.open_array(tifffile.imread(path, aszarr=True, series=series, level=0), mode="r")
    except ImportError:
        return None


def _geometry(page: Any) -> Geometry:
    tags = tuple((t.code, int(t.dtype), t.count, t.value, True) for t in page.tags if t.code in GEO_TAGS)
    x, y = (_fraction(_tag(page, code)) for code in (282, 283))
    unit = {2: "inch", 3: "centimeter"}.get(int(_tag(page, 296) or 0), "")
    return Geometry(tags, (x, y, unit) if x and y and unit else None)


def _fraction(value: object) -> float:
    top, bottom = value if isinstance(value, tuple) else (value or 0, 1)
    return float(top) / float(bottom) if bottom else 0.0


def _nodata(page: Any, path: Path) -> float | None:
    text = _tag(page, NODATA)
    if text is None:
        return None
    try:
        return float(str(text).strip("\x00 "))
    except ValueError as error:
        raise InputError(f"{path}: its GDAL_NODATA is {text!r}; expected a number") from error


def _inverted(array: Array, path: Path) -> Array:
    """Pixels of a file in which white is zero, with black as zero."""
    if array.dtype == bool:
        return ~array
    if array.dtype.kind != "u":
        raise InputError(f"{path}: white is zero in it, which is only read of unsigned integers, not of {array.dtype}")
    return np.iinfo(array.dtype).max - array


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _tuple(value: object) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),) if value else ()  # type: ignore[call-overload]
