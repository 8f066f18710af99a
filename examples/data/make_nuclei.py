"""Make the small nuclei segmentation set in `nuclei/` from the public BBBC038 (2018 Data Science Bowl, stage 1) images.

    python examples/data/make_nuclei.py --source stage1_train --out examples/data/nuclei

`--source` is a folder in one of two layouts:

- as published: `IMAGE_ID/images/IMAGE_ID.png` and one binary mask a nucleus, `IMAGE_ID/masks/*.png`;
- merged: `images/NAME.png` and `labels/NAME.png`, where a label image is 0 on background and k on the k-th nucleus.

`nuclei/README.md` states the selection, the classes and the split. Needs numpy and pillow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = (256, 256)
KEEP_EVERY = 3
VAL_EVERY = 5
NAME_LENGTH = 16
BACKGROUND, NUCLEUS, BORDER = 0, 1, 2
PALETTE = [0, 0, 0, 64, 160, 255, 255, 96, 0]


class SourceError(ValueError):
    """The source folder does not hold what its layout promises."""


class Entry(NamedTuple):
    """One source image: its name, its file, and how to read its instance labels (H, W), 0 for background."""

    name: str
    image: Path
    read_labels: Callable[[], npt.NDArray[np.int32]]


def published_entries(source: Path) -> Iterator[Entry]:
    """The images of a folder in the published layout."""
    for folder in source.iterdir():
        image = folder / "images" / f"{folder.name}.png"
        if image.is_file():
            yield Entry(folder.name[:NAME_LENGTH], image, partial(merge_masks, folder / "masks"))


def merged_entries(source: Path) -> Iterator[Entry]:
    """The images of a folder in the merged layout."""
    for image in source.glob("images/*.png"):
        labels = source / "labels" / image.name
        yield Entry(image.stem[:NAME_LENGTH], image, partial(read_labels, labels))


def read_labels(path: Path) -> npt.NDArray[np.int32]:
    """The label image of a file."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file; every image needs its labels")
    return np.asarray(Image.open(path), np.int32)


def merge_masks(folder: Path) -> npt.NDArray[np.int32]:
    """The one-nucleus masks of an image as one label image; where two overlap, the later file name wins."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise SourceError(f"{folder}: no masks (*.png)")
    labels = np.zeros(SIZE[::-1], np.int32)
    for k, path in enumerate(paths, start=1):
        labels[np.asarray(Image.open(path).convert("L")) > 0] = k
    return labels


def to_classes(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Instance labels (H, W) to classes (H, W): border wherever the 3 x 3 neighborhood holds two different labels."""
    padded = np.pad(labels, 1, mode="edge")
    neighborhood = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    border = neighborhood.max(axis=(2, 3)) != neighborhood.min(axis=(2, 3))
    return np.where(border, BORDER, np.where(labels > 0, NUCLEUS, BACKGROUND)).astype(np.uint8)


def read_gray(path: Path) -> Image.Image:
    """The image as 8-bit gray; an error if its color channels differ."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    if (rgb != rgb[..., :1]).any():
        raise SourceError(f"{path}: a color image; the 256 x 256 images of this set are all gray")
    return Image.fromarray(rgb[..., 0])


def make(source: Path, out: Path) -> dict[str, list[str]]:
    """Write images/, masks/, train.txt and val.txt under `out`; returns the names of each split."""
    entries = sorted([*published_entries(source), *merged_entries(source)], key=lambda entry: entry.name)
    candidates = [entry for entry in entries if Image.open(entry.image).size == SIZE]
    if not candidates:
        raise SourceError(f"{source}: no {SIZE[0]} x {SIZE[1]} images in either layout (see --help)")
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for position, entry in enumerate(candidates[::KEEP_EVERY]):
        image, labels = read_gray(entry.image), entry.read_labels()
        if labels.shape != image.size[::-1]:
            raise SourceError(f"{entry.image}: image is {image.size[::-1]}, its labels are {labels.shape}")
        mask = Image.fromarray(to_classes(labels)).convert("P")
        mask.putpalette(PALETTE)
        image.save(out / "images" / f"{entry.name}.png", optimize=True)
        mask.save(out / "masks" / f"{entry.name}.png", optimize=True)
        splits["val" if position % VAL_EVERY == VAL_EVERY - 1 else "train"].append(entry.name)
    for split, names in splits.items():
        (out / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return splits


def main() -> int:
    """Run the script; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with the source images")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "nuclei", help="folder to write")
    args = parser.parse_args()
    try:
        if not args.source.is_dir():
            raise SourceError(f"{args.source}: no such folder")
        splits = make(args.source, args.out)
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: " + ", ".join(f"{len(names)} {split}" for split, names in splits.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
