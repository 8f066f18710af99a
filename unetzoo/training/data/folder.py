"""The images of one split as a torch data set, and the loading of a whole data set, every file verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from unetzoo.training.data.classes import ClassTable
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.layout import Entry, find_entries
from unetzoo.training.data.normalise import Standardise, normalisation
from unetzoo.training.data.reading import read_image, read_mask

Progress = Callable[[int, int], None]


class Sample(TypedDict):
    """One image (C, *spatial) as float32, its labels (*spatial) as int64, and its name.

    Pictures lie in 0 to 1 and volumes keep their values, except where the config's `normalise` is `image`: then the
    image has zero mean and unit deviation.
    """

    image: Tensor
    target: Tensor
    name: str


class SegmentationFolder(Dataset[Sample]):
    """The images of one split with their labels, read from their files when asked for."""

    def __init__(self, entries: Sequence[Entry], config: DataConfig) -> None:
        self.entries = list(entries)
        self.config = config
        self.classes = config.table

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample; raises `DataError` naming the file of one that is not what it should be."""
        entry = self.entries[index]
        pixels = read_image(entry.image, self.config.ndim, self.config.channels)
        shape = pixels.shape[:-1]
        if entry.mask is None:
            labels = np.zeros(shape, np.uint8)
        else:
            table = self.classes
            mask = read_mask(entry.mask, self.config.ndim, colours=table.in_colour, grey=table.threshold is not None)
            labels = table.encode(mask, entry.mask)
        if labels.shape != shape:
            raise DataError(f"{entry.mask}: the mask is {labels.shape}, its image {entry.image.name} is {shape}")
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
        if self.config.normalise == "image":
            image = Standardise()(image[None])[0]
        return Sample(image=image, target=torch.from_numpy(labels.astype(np.int64)), name=entry.name)


@dataclass(frozen=True)
class SegmentationData:
    """A data set whose files were all read once and found in order.

    `normalise` is to be applied to batches after augmentation: it does what the samples do not have in them yet.
    """

    config: DataConfig
    splits: dict[str, SegmentationFolder]
    in_channels: int

    @property
    def classes(self) -> ClassTable:
        """The class table."""
        return self.config.table

    @property
    def num_classes(self) -> int:
        """The number of classes, void not counted."""
        return len(self.classes)

    @property
    def ndim(self) -> int:
        """2 for pictures, 3 for volumes."""
        return self.config.ndim

    @property
    def unit_range(self) -> bool:
        """Whether the samples' images lie in 0 to 1, as pictures do unless each is normalised by itself."""
        return self.ndim == 2 and self.config.normalise != "image"

    @property
    def train(self) -> SegmentationFolder | None:
        """The split `train`, if there is one."""
        return self.splits.get("train")

    @property
    def val(self) -> SegmentationFolder | None:
        """The split `val`, if there is one."""
        return self.splits.get("val")

    @property
    def test(self) -> SegmentationFolder | None:
        """The split `test`, if there is one."""
        return self.splits.get("test")

    @property
    def normalise(self) -> nn.Module:
        """The normalisation of batches."""
        return nn.Identity() if self.config.normalise == "image" else normalisation(self.config)


def load_data(
    config: DataConfig, splits: Sequence[str] | None = None, progress: Progress | None = None
) -> SegmentationData:
    """Find the files of a data set, read every one of them, and return its splits.

    Args:
        config: the data set.
        splits: only these splits.
        progress: is called with the number of files read and of all files.

    Raises `DataError` that tells all problems at once, each with its file: what is missing, cannot be read, has
    another size than its mask, another number of channels than the rest, or values and colours outside the class
    table. Raises `ConfigError` for an unknown split.
    """
    found, problems = find_entries(config, splits)
    folders = {split: SegmentationFolder(entries, config) for split, entries in found.items()}
    in_channels = _verify(folders, problems, progress)
    if problems:
        raise DataError.of(config.root, problems)
    return SegmentationData(config, folders, in_channels)


def _verify(folders: dict[str, SegmentationFolder], problems: list[str], progress: Progress | None) -> int:
    """Read every sample, note what is wrong with it or with all of them, and return the number of channels."""
    items = [(folder, index) for folder in folders.values() for index in range(len(folder))]

    def look(item: tuple[SegmentationFolder, int]) -> tuple[int, set[int]] | str:
        folder, index = item
        try:
            sample = folder[index]
        except DataError as error:
            return str(error)
        return sample["image"].shape[0], set(sample["target"].unique().tolist())

    found: list[tuple[Entry, int]] = []
    labels: set[int] = set()
    with ThreadPoolExecutor() as pool:
        for done, ((folder, index), result) in enumerate(zip(items, pool.map(look, items), strict=True), 1):
            if isinstance(result, str):
                problems.append(result)
            else:
                found.append((folder.entries[index], result[0]))
                labels |= result[1]
            if progress is not None:
                progress(done, len(items))
    counts = Counter(channels for _, channels in found)
    usual = max(counts, key=lambda channels: counts[channels], default=0)
    problems += [
        f"{entry.image}: {channels} channels, where {counts[usual]} images have {usual}; set `channels` to rgb or grey"
        for entry, channels in found
        if channels != usual
    ]
    if "train" in folders and not problems:
        problems += _one_class_alone(folders["train"].config, labels)
    return usual


def _one_class_alone(config: DataConfig, labels: set[int]) -> list[str]:
    """What to say of masks that hold one class or void throughout: they are not read as they are meant."""
    table = config.table
    present = [name for label, name in enumerate(table.names) if label in labels]
    if len(present) > 1 or config.limit is not None:
        return []
    held = " and ".join([*map(repr, present), *(["void"] if table.ignore_index in labels else [])])
    return [
        f"all masks together hold only {held}: masks of 0 and 255 need `threshold: 128`, masks of 0 and 1 none, "
        "others `classes` with their values or colours"
    ]
