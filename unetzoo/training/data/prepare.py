"""Turning what some owners publish into folders of images and masks: stacks of slices, and layers of the retina."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from unetzoo.training.data.errors import DataError

Preparation = Literal["slices", "oct_layers"]

_VOID = 255


def prepare(preparation: Preparation, source: Path, destination: Path) -> int:
    """Read what lies anywhere under `source` and write images and masks under `destination`; returns their number.

    Args:
        preparation: `slices` for `train-volume.tif` and `train-labels.tif` of ISBI 2012, into images/ and labels/;
            `oct_layers` for the files `Subject_NN.mat` of Chiu et al. (2015), into images/ and masks/.
        source: folder of the published files.
        destination: folder to write.

    Raises `DataError` if the published files are not there or not what they should be.
    """
    if preparation == "slices":
        return _slices(source, destination)
    return _oct_layers(source, destination)


def _slices(source: Path, destination: Path) -> int:
    import tifffile

    volume, labels = (tifffile.imread(_the_one(source, f"train-{kind}.tif")) for kind in ("volume", "labels"))
    if volume.ndim != 3 or volume.shape != labels.shape:
        raise DataError(f"{source}: expected a stack of slices and one of labels, got {volume.shape}, {labels.shape}")
    for number, (image, mask) in enumerate(zip(volume, labels, strict=True)):
        _write(destination / "images" / f"{number:02d}.png", image)
        _write(destination / "labels" / f"{number:02d}.png", mask)
    return len(volume)


def _oct_layers(source: Path, destination: Path) -> int:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    paths = sorted(source.rglob("Subject_*.mat"))
    if not paths:
        raise DataError(f"{source}: no files Subject_*.mat in it or below")
    count = 0
    for path in paths:
        try:
            content = loadmat(path, variable_names=["images", "manualLayers1", "manualFluid1"])
            scans, layers, fluid = (content[key] for key in ("images", "manualLayers1", "manualFluid1"))
        except (KeyError, ValueError, OSError, NotImplementedError, MatReadError) as error:
            raise DataError(f"{path}: expected images, manualLayers1 and manualFluid1: {error}") from error
        for number in np.flatnonzero(~np.isnan(layers).all(axis=(0, 1))):
            name = f"{path.stem}_{number:02d}.png"
            scan = scans[..., number]
            _write(destination / "images" / name, scan)
            _write(destination / "masks" / name, layer_mask(layers[..., number], fluid[..., number], scan.shape[0]))
            count += 1
    return count


def layer_mask(
    boundaries: npt.NDArray[np.floating], fluid: npt.NDArray[np.floating], height: int
) -> npt.NDArray[np.uint8]:
    """The classes (height, width) of a B-scan from its boundaries.

    Args:
        boundaries: the row of each boundary in each column, counted from 1 as in the files, (count, width); from the
            top of the retina to its bottom. A column with a boundary that is not annotated is void.
        fluid: not zero where there is fluid, (height, width); it becomes the last class.
        height: rows of the scan.

    Class 0 is above the first boundary, class k between boundary k and the next.
    """
    rows = np.arange(1, height + 1)[None, :, None]
    mask = (rows >= np.nan_to_num(boundaries)[:, None, :]).sum(axis=0)
    mask = np.where(np.nan_to_num(fluid) != 0, len(boundaries) + 1, mask)
    return np.where(np.isnan(boundaries).any(axis=0), _VOID, mask).astype(np.uint8)


def _the_one(source: Path, name: str) -> Path:
    found = sorted(source.rglob(name))
    if not found:
        raise DataError(f"{source}: no file {name} in it or below")
    return found[0]


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)
