"""What `unetzoo predict` does around a `Predictor`: find the images, name what is written, draw overlays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from unetzoo.errors import InputError
from unetzoo.files import replacing
from unetzoo.images.formats import nifti, tiff
from unetzoo.images.opening import SUFFIXES, open_source, suffix_of
from unetzoo.images.output import WritableArray
from unetzoo.images.windows import index, strips
from unetzoo.inference.predictor import Predictor
from unetzoo.preprocessing import scale_unsigned
from unetzoo.training.pictures import overlay

LARGEST_OVERLAY = 2048  # pixels along an axis; the overlays of larger images are of every n-th pixel


def find_images(given: Sequence[Path]) -> list[Path]:
    """The files given and those in the folders given.

    Raises `InputError` for a path that does not exist, a file of a kind that is not read, and a folder without images.
    """
    found: list[Path] = []
    for path in given:
        inside = sorted(file for file in path.iterdir() if suffix_of(file)) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: holds no images; read are {', '.join(SUFFIXES)}")
        found += inside
    for path in found:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if not suffix_of(path):
            raise InputError(f"{path}: files of this kind are not read; supported: {', '.join(SUFFIXES)}")
    names = [stem(path) for path in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"several images are named {', '.join(doubled)}, and their masks would be one file")
    return found


def stem(path: Path) -> str:
    """The name of a file without the suffix, `.nii.gz` as one."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def write(predictor: Predictor, path: Path, folder: Path, *, probabilities: bool) -> None:
    """Predict one image; write NAME_mask, of pictures NAME_overlay.png, and NAME_probabilities.npy if asked for.

    Raises `InputError` for a file that cannot be read.
    """
    flat, suffix = predictor.model.ndim == 2, suffix_of(path)
    kind = ".nii.gz" if suffix in nifti.SUFFIXES else ".tif" if suffix in tiff.SUFFIXES else ".png" if flat else ".npz"
    labels = predictor.predict_file(
        path,
        folder / f"{stem(path)}_mask{kind}",
        probabilities=folder / f"{stem(path)}_probabilities.npy" if probabilities else None,
    )
    if flat:
        pixels = draw_overlay(predictor, path, labels)
        with replacing(folder / f"{stem(path)}_overlay.png") as target:
            Picture.fromarray(pixels).save(target, format="PNG")


def draw_overlay(predictor: Predictor, path: Path, labels: WritableArray) -> npt.NDArray[np.uint8]:
    """The image under the colors of its classes, red, green, blue (H, W, 3); of a large one every n-th pixel."""
    image = open_source(path, ndim=2)
    step = -(-max(image.shape) // LARGEST_OVERLAY)
    shown, chosen = [], []
    for window in strips(image.shape):
        first = -window[0].start % step
        pixels = scale_unsigned(image.read(window)[:, first::step, ::step])
        shown.append(np.moveaxis(pixels[: 3 if len(pixels) >= 3 else 1], 0, -1))
        chosen.append(np.asarray(labels[index(window, 0)])[first::step, ::step])  # type: ignore[index]
    picture = np.concatenate(shown)
    if image.dtype != np.uint8:  # of no fixed range: stretched to what there is
        low, high = picture.min(), picture.max()
        picture = (picture - low) / max(float(high - low), 1e-12)
    drawn = overlay(picture, predictor.classes.color(np.concatenate(chosen)))
    return (drawn * 255).round().astype(np.uint8)
