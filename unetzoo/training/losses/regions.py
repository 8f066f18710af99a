"""Losses over regions that segmentation-models-pytorch lacks: smoothed F-beta, and a guard against void alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetzoo.training.losses.targets import class_indices, valid_mask


class GuardedLoss(nn.Module):
    """A loss that selects pixels by their target, made to give zero, with a zero gradient, where none is left."""

    def __init__(self, loss: nn.Module, *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`."""
        if not valid_mask(target, self.ignore_index).any():
            return logits.sum() * 0.0
        return self.loss(logits, target)


class FBetaLoss(nn.Module):
    """One minus the mean over all classes of the soft, smoothed F-beta score of the batch; beta 1 is Dice.

    Unlike the Dice loss of segmentation-models-pytorch it averages over absent classes too: probability given to a
    class that the batch does not hold costs up to one whole class.

    Args:
        num_classes: 1 for a sigmoid output, more for a softmax.
        ignore_index: target value of pixels that do not count.
        beta: above one, missed pixels cost more than false ones.
        smooth: added to numerator and denominator.
    """

    def __init__(
        self, num_classes: int, *, ignore_index: int | None = None, beta: float = 1.0, smooth: float = 1e-5
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.beta = beta
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`."""
        hits, predicted, actual = soft_counts(logits, target, self.ignore_index)
        squared = self.beta**2
        numerator = (1 + squared) * hits + self.smooth
        return 1 - (numerator / (predicted + squared * actual + self.smooth)).mean()


def soft_counts(logits: Tensor, target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Per class, over the batch: probability on its own pixels, probability on all, number of its pixels; `(C,)`."""
    valid = valid_mask(target, ignore_index)
    labels = class_indices(target, valid)
    if logits.shape[1] == 1:
        probabilities, actual = logits.sigmoid(), labels.unsqueeze(1)
    else:
        probabilities, actual = logits.softmax(1), F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    counted = valid.unsqueeze(1).to(logits.dtype)
    probabilities, actual = probabilities * counted, actual * counted
    axes = (0, *range(2, logits.ndim))
    return torch.sum(probabilities * actual, axes), probabilities.sum(axes), actual.sum(axes)
