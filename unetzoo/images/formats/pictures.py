"""PNG, JPEG, BMP, GIF and WebP, through Pillow: decoded whole, upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps

from unetzoo.errors import InputError
from unetzoo.images.channels import without_opacity
from unetzoo.images.image import Geometry, Image, Role
from unetzoo.preprocessing import PLAIN_MODES

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def open(path: Path, ndim: int, role: Role) -> Image:
    """Decode a picture; a palette is an index for masks and colors for images."""
    if ndim != 2:
        raise InputError(f"{path}: expected a volume, got a picture")
    try:
        with Picture.open(path) as picture:
            picture.load()
            resolution = picture.info.get("dpi")
            turned = ImageOps.exif_transpose(picture)
    except Picture.DecompressionBombError as error:
        raise InputError(
            f"{path}: {error}; if the file is trusted, raise PIL.Image.MAX_IMAGE_PIXELS or convert it to TIFF"
        ) from error
    if turned.mode in ("LA", "RGBA"):
        array = without_opacity(np.asarray(turned), path)
    elif turned.mode in PLAIN_MODES or (turned.mode == "P" and role == "mask"):
        array = np.asarray(turned)
    else:
        array = np.asarray(turned.convert("RGB"))
    geometry = Geometry(resolution=(float(resolution[0]), float(resolution[1]), "inch")) if resolution else None
    return Image(array, "none" if array.ndim == 2 else "last", geometry)
