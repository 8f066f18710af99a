"""Scores of a whole split from one confusion matrix: IoU, Dice and accuracy without flattery."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from unetzoo.errors import InputError
from unetzoo.training.losses.targets import Mode, prepare_target


@dataclass(frozen=True)
class SegmentationScores:
    """Scores over all pixels of a split that are not void.

    Attributes:
        iou, dice: class index to score, for the classes present: those that at least one target pixel holds. A class
            that the split lacks is in neither; predicting it still costs the classes whose pixels it took.
        pixel_accuracy: fraction of pixels of the right class; NaN without any pixel.
    """

    iou: dict[int, float]
    dice: dict[int, float]
    pixel_accuracy: float

    @property
    def present(self) -> list[int]:
        """The classes that the targets hold."""
        return list(self.iou)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present; NaN if there are none."""
        return mean(self.iou)

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the classes present; NaN if there are none."""
        return mean(self.dice)


class ConfusionMatrix(nn.Module):
    """Counts target against predicted class over a split; a torchmetrics metric does the counting and the syncing.

    Args:
        num_classes: channels of the logits; 1 is read as background (0) against foreground (1), cut at a logit of zero.
        ignore_index: target value of pixels that do not count.
    """

    def __init__(self, num_classes: int, *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = MulticlassConfusionMatrix(max(2, num_classes), ignore_index=ignore_index, validate_args=False)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Adds a batch: logits `(N, C, *spatial)` and class indices `(N, *spatial)`.

        Raises:
            InputError: the shapes do not fit, or the target holds a class that does not exist.
        """
        mode: Mode = "binary" if self.num_classes == 1 else "multiclass"
        target = prepare_target(logits, target, mode, self.num_classes, self.ignore_index)
        self.counts.update(predicted_classes(logits), target.long())

    def update_labels(self, predicted: Tensor, target: Tensor) -> None:
        """Adds a batch of class indices of one shape, predicted and true."""
        if predicted.shape != target.shape:
            raise InputError(
                f"predictions have shape {tuple(predicted.shape)}, targets {tuple(target.shape)}: expected the same"
            )
        self.counts.update(predicted.long(), target.long())

    def matrix(self) -> Tensor:
        """Pixels by true class (row) and predicted class (column), summed over all processes; int64."""
        return self.counts.compute()

    def reset(self) -> None:
        """Forgets everything counted so far."""
        self.counts.reset()

    def scores(self) -> SegmentationScores:
        """Scores of everything counted since the start or the last `reset`."""
        matrix = self.matrix().double().cpu()
        hits, actual, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        present = torch.nonzero(actual).flatten().tolist()
        iou = hits / (actual + predicted - hits)
        dice = 2 * hits / (actual + predicted)
        return SegmentationScores(
            iou={label: iou[label].item() for label in present},
            dice={label: dice[label].item() for label in present},
            pixel_accuracy=(hits.sum() / matrix.sum()).item(),
        )


def predicted_classes(logits: Tensor) -> Tensor:
    """Class indices `(N, *spatial)` of logits `(N, C, *spatial)`; a single channel is cut at zero."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def mean(scores: dict[int, float]) -> float:
    """Mean over the classes that are there; NaN without any."""
    return sum(scores.values()) / len(scores) if scores else float("nan")
