"""Loading a data set: its files found, every one of them verified, and its splits as torch data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from unetzoo.images.whole import read_placement
from unetzoo.preprocessing import Preprocessing, usual_order
from unetzoo.training.data.classes import ClassTable
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.layout import find_entries
from unetzoo.training.data.samples import SegmentationFolder
from unetzoo.training.data.verifying import FileProgress, verify


@dataclass(frozen=True)
class SegmentationData:
    """A data set whose files were all read once and are OK.

    `unit_range` says that all samples' images lie in 0 to 1. `normalize` is to be applied to batches after
    augmentation: it does what the samples do not have in them yet.
    """

    config: DataConfig
    splits: dict[str, SegmentationFolder]
    in_channels: int
    unit_range: bool
    preprocessing: Preprocessing

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
    def normalize(self) -> Callable[[Tensor], Tensor]:
        """The normalization of batches."""
        return _unchanged if self.preprocessing.needs_statistics else self.preprocessing.normalize


def _unchanged(images: Tensor) -> Tensor:
    return images


def load_data(
    config: DataConfig,
    splits: str | Sequence[str] | None = None,
    progress: FileProgress | None = None,
    preprocessing: Preprocessing | None = None,
) -> SegmentationData:
    """Find the files of a data set, read every one of them, and return its splits.

    Args:
        config: the data set.
        splits: only this split, or these; default: all.
        progress: is called with the number of files read and of all files.
        preprocessing: what images are put through; default: what the config says.

    Raises `DataError` that lists all problems, each with its file: what is missing, cannot be read, has
    another size than its mask, another number of channels than the rest, or values and colors outside the class
    table. Raises `ConfigError` for an unknown split.
    """
    found, problems = find_entries(config, [splits] if isinstance(splits, str) else splits)
    preprocessing = preprocessing or config.preprocessing
    folders = {split: SegmentationFolder(entries, config, preprocessing) for split, entries in found.items()}
    in_channels, unit_range = verify(folders, problems, progress)
    if problems:
        raise DataError.of(config.root, problems)
    images = [entry.image for entries in found.values() for entry in entries]
    known = read_placement(images) if config.ndim == 3 else {}
    if preprocessing.channels is None and config.ndim == 2:
        known["channels"] = usual_order(in_channels)
    preprocessing = preprocessing.model_copy(update=known)
    return SegmentationData(config, folders, in_channels, unit_range, preprocessing)
