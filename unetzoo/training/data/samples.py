"""The images of one split with their labels, as a torch data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unetzoo.errors import InputError
from unetzoo.images.whole import check_same_place, read_mask, read_pixels
from unetzoo.preprocessing import Preprocessing
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.layout import Entry


class Sample(TypedDict):
    """One image (C, *spatial) as float32, its labels (*spatial) as int64, and its name.

    The image is scaled, and normalized where that takes the statistics of the whole image: the rest is for batches.
    """

    image: Tensor
    target: Tensor
    name: str


class SegmentationFolder(Dataset[Sample]):
    """The images of one split with their labels, read from their files when asked for.

    Args:
        entries: the files.
        config: how they are read.
        preprocessing: what images are put through; default: what the config says.
    """

    def __init__(
        self, entries: Sequence[Entry], config: DataConfig, preprocessing: Preprocessing | None = None
    ) -> None:
        self.entries = list(entries)
        self.config = config
        self.preprocessing = preprocessing or config.preprocessing
        self.classes = config.table

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample; raises `InputError` naming the file of one that is not what it should be."""
        entry = self.entries[index]
        pixels = self._pixels(entry)
        shape = pixels.shape[1:]
        if entry.mask is None:
            labels = np.zeros(shape, np.uint8)
        else:
            table = self.classes
            check_same_place(entry.image, entry.mask)
            mask = read_mask(
                entry.mask,
                self.config.ndim,
                colors=table.in_color,
                gray=table.threshold is not None,
                void=table.ignore_index,
            )
            labels = table.encode(mask, entry.mask)
        if labels.shape != shape:
            raise DataError(f"{entry.mask}: the mask is {labels.shape}, its image {entry.image.name} is {shape}")
        image = torch.from_numpy(pixels)
        if self.preprocessing.needs_statistics:
            image = self.preprocessing.normalize(image[None])[0]
        return Sample(image=image, target=torch.from_numpy(labels.astype(np.int64)), name=entry.name)

    def _pixels(self, entry: Entry) -> npt.NDArray[np.float32]:
        """The image (C, *spatial), scaled and with the channels that are wanted."""
        raw = np.moveaxis(read_pixels(entry.image, self.config.ndim), -1, 0)
        try:
            return np.ascontiguousarray(self.preprocessing.arrange(self.preprocessing.scale(raw)))
        except InputError as error:
            raise DataError(f"{entry.image}: {error}") from error
