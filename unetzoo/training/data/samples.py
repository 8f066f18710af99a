"""The images of one split with their labels, as a torch data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.layout import Entry
from unetzoo.training.data.normalize import Standardize
from unetzoo.training.data.reading import read_image, read_mask


class Sample(TypedDict):
    """One image (C, *spatial) as float32, its labels (*spatial) as int64, and its name.

    Pictures lie in 0 to 1 and volumes keep their values, except where the config's `normalize` is `image`: then the
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
            mask = read_mask(entry.mask, self.config.ndim, colors=table.in_color, gray=table.threshold is not None)
            labels = table.encode(mask, entry.mask)
        if labels.shape != shape:
            raise DataError(f"{entry.mask}: the mask is {labels.shape}, its image {entry.image.name} is {shape}")
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
        if self.config.normalize == "image":
            image = Standardize()(image[None])[0]
        return Sample(image=image, target=torch.from_numpy(labels.astype(np.int64)), name=entry.name)
