"""Scores of a network over a whole split, image by image at full size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from unetzoo.training.cropping import centre_crop
from unetzoo.training.data import SegmentationFolder
from unetzoo.training.metrics import ConfusionMatrix, SegmentationScores

Observer = Callable[[Tensor, Tensor], None]


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    samples: SegmentationFolder,
    normalise: nn.Module,
    device: torch.device,
    *,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
    observe: Observer | None = None,
) -> SegmentationScores:
    """Return the scores over all pixels of the split together, void left out.

    Args:
        predict: logits (1, num_classes, *spatial) of an image (1, C, *spatial): a network in evaluation mode, or one
            that is asked tile by tile or in several orientations. Networks without padding may leave out a margin,
            which is then not scored.
        samples: the split.
        normalise: what a batch is put through before.
        device: where to.
        rank, processes: each process takes its share of the images; the scores are those of all.
        workers: processes that read images.
        observe: is called with the logits and the target of every image of this process.
    """
    counts = ConfusionMatrix(len(samples.classes), ignore_index=samples.classes.ignore_index).to(device)
    share = Subset(samples, range(rank, len(samples), processes))
    for sample in DataLoader(share, batch_size=1, num_workers=workers):
        logits = predict(normalise(sample["image"].to(device)))
        target = centre_crop(sample["target"].to(logits.device), logits)
        counts.update(logits, target)
        if observe is not None:
            observe(logits, target)
    return counts.scores()
