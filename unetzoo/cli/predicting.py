"""What `unetzoo predict` does with an image: read it, run the network, write masks and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Picture

from unetzoo.errors import InputError
from unetzoo.files import replacing
from unetzoo.inference.exact import ExactPlan
from unetzoo.inference.images import read_geo_tags
from unetzoo.inference.planning import plan_exact
from unetzoo.inference.tiled import DEFAULT_TILE, Mode, predict_tiled
from unetzoo.inference.tta import TestTimeAugmentation
from unetzoo.preprocessing import Order
from unetzoo.training.data import ClassTable
from unetzoo.training.data.reading import NIFTI, SUFFIXES, TIFF, read_image, suffix_of
from unetzoo.training.pictures import overlay
from unetzoo.training.trained import Trained

Labels = npt.NDArray[np.uint8]
CHANNELS: dict[tuple[int, int], Order] = {(2, 1): "gray", (2, 3): "rgb"}


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


@dataclass
class Predictor:
    """A trained network and how it is run.

    Args:
        trained: the network, its classes and its normalization.
        mode: as in `predict_tiled`.
        tile: pixels along each axis that one run of the network sees.
        tta: augmentation around the network.
        probabilities: write these too.
    """

    trained: Trained
    mode: Mode
    tile: int | None = None
    tta: TestTimeAugmentation | None = None
    probabilities: bool = False

    def __post_init__(self) -> None:
        self._plan: ExactPlan | None = None

    def write(self, path: Path, folder: Path) -> None:
        """Predict one image; write NAME_mask, of pictures NAME_overlay.png, and NAME_probabilities.npy if asked for.

        Raises `DataError` for a file that cannot be read.
        """
        config, model = self.trained.data, self.trained.model
        pixels = read_image(path, config.ndim, config.channels or CHANNELS.get((config.ndim, model.in_channels)))
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
        prediction = np.asarray(
            predict_tiled(
                model,
                config.preprocessing.normalize(image[None])[0],
                mode=self.mode,
                tile=self.tile,
                plan=self._planned(image.shape[1:]),
                tta=self.tta,
                output="probabilities" if self.probabilities else "labels",
            )
        )
        labels = _most_probable(prediction) if self.probabilities else prediction.astype(np.uint8)
        if self.probabilities:
            _write_array(folder / f"{stem(path)}_probabilities.npy", prediction)
        write_mask(labels, config.table, path, folder / f"{stem(path)}_mask")
        if config.ndim == 2:
            write_picture(overlay(pixels, config.table.classes.color(labels)), folder / f"{stem(path)}_overlay.png")

    def _planned(self, shape: Sequence[int]) -> ExactPlan | None:
        """The plan of exact tiling, measured once, if an image of this shape is larger than the tile."""
        ndim = self.trained.model.ndim
        edge = self.tile or DEFAULT_TILE[ndim]
        if self.mode != "exact" or max(shape) <= edge:
            return None
        if self._plan is None:
            self._plan = plan_exact(self.trained.model, self.trained.model.in_channels, (edge,) * ndim)
        return self._plan


def write_mask(labels: Labels, classes: ClassTable, source: Path, target: Path) -> None:
    """Write labels (*spatial) in the kind of their image, with its place in space; pictures as PNG with a palette.

    `target` has no suffix; volumes of arrays become NPZ.
    """
    suffix = suffix_of(source)
    if suffix in NIFTI:
        import nibabel

        affine = nibabel.nifti1.load(source).affine
        with replacing(target.with_name(f"{target.name}.nii.gz")) as path:
            nibabel.nifti1.save(nibabel.nifti1.Nifti1Image(labels, affine), path)
    elif suffix in TIFF:
        import tifffile

        with replacing(target.with_name(f"{target.name}.tif")) as path:
            tifffile.imwrite(
                path, labels, photometric="minisblack", compression="zlib", extratags=read_geo_tags(source)
            )
    elif labels.ndim == 2:
        picture = Picture.fromarray(labels, mode="L")
        picture.putpalette(classes.classes.color(np.arange(256)).tobytes())
        with replacing(target.with_name(f"{target.name}.png")) as path:
            picture.save(path, format="PNG")
    else:
        with replacing(target.with_name(f"{target.name}.npz")) as path, path.open("wb") as file:
            np.savez_compressed(file, mask=labels)


def write_picture(pixels: npt.NDArray[np.floating], target: Path) -> None:
    """Write red, green, blue (H, W, 3) from 0 to 1 as PNG."""
    with replacing(target) as path:
        Picture.fromarray((pixels * 255).round().astype(np.uint8)).save(path, format="PNG")


def _write_array(target: Path, array: npt.NDArray[np.float32]) -> None:
    with replacing(target) as path, path.open("wb") as file:
        np.save(file, array)


def _most_probable(probabilities: npt.NDArray[np.float32]) -> Labels:
    one = len(probabilities) == 1
    return (probabilities[0] > 0.5 if one else probabilities.argmax(0)).astype(np.uint8)
