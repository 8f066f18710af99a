"""Random crops of one size, so that samples stack into batches; repeatable whatever reads them in whatever order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unetzoo.training.data.samples import Sample, SegmentationFolder


class RandomCrops(Dataset[Sample]):
    """One crop of each sample, at a place that depends on seed, epoch and index alone.

    So a run that resumes in the middle of an epoch, or reads with another number of workers, sees the same crops. A
    sample smaller than `size` is padded on both sides: the image by reflection, the target with the ignore index.
    """

    def __init__(self, samples: SegmentationFolder, size: Sequence[int], seed: int = 0) -> None:
        self.samples = samples
        self.size = tuple(size)
        self.seed = seed
        # Shared memory: workers that live on from epoch to epoch see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw the crops of this epoch from now on."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample and crop it."""
        sample = self.samples[index]
        image, target = pad_to(sample["image"], sample["target"], self.size, self.samples.classes.ignore_index)
        generator = np.random.default_rng((self.seed, int(self._epoch), index))
        for axis, size in enumerate(self.size):
            start = int(generator.integers(target.shape[axis] - size + 1))
            image, target = image.narrow(axis + 1, start, size), target.narrow(axis, start, size)
        return Sample(image=image.clone(), target=target.clone(), name=sample["name"])


def pad_to(image: Tensor, target: Tensor, size: Sequence[int], ignore_index: int) -> tuple[Tensor, Tensor]:
    """Pad an image (C, *spatial) by reflection and its target (*spatial) with the ignore index, up to `size`."""
    missing = [max(wanted - extent, 0) for wanted, extent in zip(size, target.shape, strict=True)]
    if not any(missing):
        return image, target
    widths = [(extra // 2, extra - extra // 2) for extra in missing]
    # torch reflects by less than the image's own extent only.
    padded = np.pad(image.numpy(), [(0, 0), *widths], mode="reflect")
    return torch.from_numpy(padded), torch.from_numpy(np.pad(target.numpy(), widths, constant_values=ignore_index))
