"""Scores of a network over a whole split, image by image at full size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from unetzoo.training.cropping import center_crop
from unetzoo.training.data import SegmentationFolder
from unetzoo.training.metrics import BoundaryF1, ConfusionMatrix, SegmentationScores, VolumeScores
from unetzoo.training.metrics.confusion import mean

Observer = Callable[[Tensor, Tensor], None]


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    samples: SegmentationFolder,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device,
    *,
    num_classes: int,
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
        normalize: what a batch is put through before.
        device: where to.
        num_classes: channels of the logits; 1 is read as the second of two classes against the first.
        rank, processes: each process scores a part of the images; the scores are those of all.
        workers: processes that read images.
        observe: is called with the logits and the target of every image of this process.
    """
    counts = ConfusionMatrix(num_classes, ignore_index=samples.classes.ignore_index).to(device)
    share = Subset(samples, range(rank, len(samples), processes))
    for sample in DataLoader(share, batch_size=1, num_workers=workers):
        logits = predict(normalize(sample["image"].to(device))).to(device)
        target = center_crop(sample["target"].to(device), logits)
        counts.update(logits, target)
        if observe is not None:
            observe(logits, target)
    return counts.scores()


class Contours:
    """Where contours lie: boundary F1 of pictures, Dice and 95 % Hausdorff distance of volumes one by one.

    Args:
        num_classes: channels of the logits.
        ndim: 2 for pictures, 3 for volumes.
        ignore_index: label of pixels without a class.
    """

    def __init__(self, num_classes: int, ndim: int, ignore_index: int) -> None:
        self._pictures = BoundaryF1(num_classes, ignore_index=ignore_index) if ndim == 2 else None
        self._volumes = VolumeScores(num_classes, ignore_index=ignore_index) if ndim == 3 else None

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add an image: logits (1, num_classes, *spatial) and labels (1, *spatial)."""
        for scores in (self._pictures, self._volumes):
            if scores is not None:
                scores.update(logits, target)

    def scores(self) -> dict[str, dict[int, float]]:
        """Name of the score to its value for each class."""
        found = {} if self._pictures is None else {"boundary_f1": self._pictures.scores()}
        if self._volumes is not None:
            found |= {"volume_dice": self._volumes.dice(), "hausdorff95": self._volumes.hausdorff95()}
        return found


def report(
    scores: SegmentationScores, names: Sequence[str], contours: Contours | None = None
) -> dict[str, float | Mapping[str, Mapping[str, float]] | list[str]]:
    """The scores as plain data: each class's by its name, the means over them, and the classes that the split lacks."""
    columns = {"iou": scores.iou, "dice": scores.dice, **(contours.scores() if contours is not None else {})}
    return {
        "pixel_accuracy": scores.pixel_accuracy,
        **{f"mean_{name}": mean(column) for name, column in columns.items()},
        "classes": {
            names[label]: {name: column[label] for name, column in columns.items() if label in column}
            for label in scores.present
        },
        "absent": [name for label, name in enumerate(names) if label not in scores.iou],
    }
