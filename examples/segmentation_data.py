"""The data sets of the examples: images with a class index for every pixel, read into memory and checked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

VOID = 255
"""Target value of pixels that have no class: left out of loss and metrics."""

NUCLEI_CLASSES = {"background": (0, 0, 0), "nucleus": (64, 160, 255), "border": (255, 96, 0)}

# The official table in its order, without horse and mountain, which the database advises to leave out: too few images.
MSRC_V2_CLASSES = {
    "void": (0, 0, 0),
    "building": (128, 0, 0),
    "grass": (0, 128, 0),
    "tree": (128, 128, 0),
    "cow": (0, 0, 128),
    "sheep": (0, 128, 128),
    "sky": (128, 128, 128),
    "aeroplane": (192, 0, 0),
    "water": (64, 128, 0),
    "face": (192, 128, 0),
    "car": (64, 0, 128),
    "bicycle": (192, 0, 128),
    "flower": (64, 128, 128),
    "sign": (192, 128, 128),
    "bird": (0, 64, 0),
    "book": (128, 64, 0),
    "chair": (0, 192, 0),
    "road": (128, 64, 128),
    "cat": (0, 192, 128),
    "dog": (128, 192, 128),
    "body": (64, 64, 0),
    "boat": (192, 64, 0),
}
MSRC_V2_VOID_COLOURS = (MSRC_V2_CLASSES["void"], (128, 0, 128), (64, 0, 0))

Colour = tuple[int, int, int]
UInt8Array = npt.NDArray[np.uint8]


class DataError(ValueError):
    """A data set on disk is not what its layout promises; the message names the file."""


@dataclass(frozen=True)
class Sample:
    """One image (H, W, 3) and its class indices (H, W), `VOID` where there is none."""

    name: str
    image: UInt8Array
    target: UInt8Array

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The image as float (3, H, W) with zero mean and unit deviation, and the target as int64 (H, W)."""
        image = torch.from_numpy(self.image).permute(2, 0, 1).float()
        return (image - image.mean()) / image.std().clamp_min(1.0), torch.from_numpy(self.target).long()


@dataclass(frozen=True)
class SegmentationData:
    """The samples of a training and an evaluation split, and the colour of each class, in the order of the outputs.

    `upright` tells that up and down mean something in these images, as in photographs.
    """

    classes: dict[str, Colour]
    upright: bool
    train: list[Sample]
    evaluation: list[Sample]

    def colour(self, labels: Tensor) -> UInt8Array:
        """Class indices (H, W) as an RGB picture (H, W, 3); `VOID` is black."""
        table = np.zeros((VOID + 1, 3), np.uint8)
        table[: len(self.classes)] = list(self.classes.values())
        return table[labels.numpy()]


class RandomCrops(Dataset[tuple[Tensor, Tensor]]):
    """One square crop of each sample at a random place, mirrored at random and, unless `upright`, turned at random.

    Draws from torch's global generator. A sample smaller than `size` is padded with zeros, its target with `VOID`.
    """

    def __init__(self, samples: Sequence[Sample], size: int, *, upright: bool) -> None:
        self.samples = samples
        self.size = size
        self.upright = upright

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target = self.samples[index].tensors()
        height, width = target.shape
        missing = (0, max(self.size - width, 0), 0, max(self.size - height, 0))
        image, target = functional.pad(image, missing), functional.pad(target, missing, value=VOID)

        top, left = (int(torch.randint(extent - self.size + 1, ())) for extent in target.shape)
        window = (..., slice(top, top + self.size), slice(left, left + self.size))
        image, target = image[window], target[window]

        if torch.rand(()) < 0.5:
            image, target = image.flip(-1), target.flip(-1)
        if not self.upright:
            turns = int(torch.randint(4, ()))
            image, target = image.rot90(turns, (-2, -1)), target.rot90(turns, (-2, -1))
        return image, target


def load_nuclei(root: Path, evaluation: str, limit: int | None = None) -> SegmentationData:
    """The nuclei set in `root`: images/, masks/ with class indices, and a list of names for each split.

    `evaluation` names the split to evaluate on, `limit` keeps the first images of each split.
    """

    def read(name: str) -> Sample:
        target = _open(root / "masks" / f"{name}.png")
        if target.mode not in ("P", "L"):
            raise DataError(f"{root / 'masks' / name}.png: expected a mask with class indices, got mode {target.mode}")
        indices = np.array(target)
        unknown = (indices >= len(NUCLEI_CLASSES)) & (indices != VOID)
        if unknown.any():
            values = ", ".join(map(str, np.unique(indices[unknown])))
            raise DataError(
                f"{root / 'masks' / name}.png: {unknown.sum()} pixels have unknown class indices ({values}); "
                f"expected 0 to {len(NUCLEI_CLASSES) - 1}, or {VOID} for void"
            )
        return _sample(name, _open(root / "images" / f"{name}.png"), indices)

    _check_root(root, ("images", "masks"))
    splits = (_names(root / f"{split}.txt")[:limit] for split in ("train", evaluation))
    return SegmentationData(NUCLEI_CLASSES, False, *([read(name) for name in names] for names in splits))


def load_msrc_v2(root: Path, evaluation: str, limit: int | None = None) -> SegmentationData:
    """MSRC-v2 in `root`, with the official split: see data/msrc_v2/README.md for the layouts that are read.

    Void, horse and mountain become `VOID`; `evaluation` names the split to evaluate on, `limit` keeps the first images.
    """
    names = {path.name.lower(): path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    images = names.get("images", root / "Images")
    labels = names.get("groundtruth") or names.get("labels", root / "GroundTruth")
    _check_root(root, (images.name, labels.name))

    indices = {colour: index for index, colour in enumerate(MSRC_V2_CLASSES.values())}
    indices |= dict.fromkeys(MSRC_V2_VOID_COLOURS, VOID)

    def read(name: str) -> Sample:
        path = _find(labels, f"{name}_GT", (".bmp", ".png"))
        target = _colours_to_indices(np.array(_open(path).convert("RGB")), indices, path)
        return _sample(name, _open(_find(images, name, (".bmp", ".png", ".jpg"))), target)

    lists = Path(__file__).parent / "data" / "msrc_v2"
    splits = (_names(lists / f"{split}.txt")[:limit] for split in ("train", evaluation))
    return SegmentationData(MSRC_V2_CLASSES, True, *([read(name) for name in names] for names in splits))


def _check_root(root: Path, folders: Sequence[str]) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --root must name the folder of the data set")
    missing = [folder for folder in folders if not (root / folder).is_dir()]
    if missing:
        raise DataError(f"{root}: no folder {' and no folder '.join(missing)} in it; is it the root of the data set?")


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; it should list the names of a split, one a line")
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise DataError(f"{path}: the list of names is empty")
    return names


def _find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path:
    for suffix in suffixes:
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise DataError(f"{folder / stem}: no such image; looked for {', '.join(suffixes)}")


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
    return image


def _sample(name: str, image: Image.Image, target: UInt8Array) -> Sample:
    pixels = np.array(image.convert("RGB"))
    if pixels.shape[:2] != target.shape:
        raise DataError(f"{name}: the image is {pixels.shape[:2]}, its mask is {target.shape} (height, width)")
    return Sample(name, pixels, target)


def _colours_to_indices(pixels: UInt8Array, indices: dict[Colour, int], path: Path) -> UInt8Array:
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    table = []
    unknown: dict[Colour, int] = {}
    for code, count in zip(colours.tolist(), counts.tolist(), strict=True):
        colour = (code >> 16, code >> 8 & 255, code & 255)
        table.append(indices.get(colour, VOID))
        if colour not in indices:
            unknown[colour] = count
    if unknown:
        raise DataError(
            f"{path}: {sum(unknown.values())} pixels have colours outside the MSRC-v2 table: "
            + ", ".join(f"{colour} ({count})" for colour, count in list(unknown.items())[:5])
        )
    return np.array(table, np.uint8)[inverse].reshape(pixels.shape[:2])
