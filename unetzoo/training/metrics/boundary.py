"""Boundary F1 score: does the contour lie where it should? (Csurka et al. 2013, section 3.3)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import ndimage
from torch import Tensor

from unetzoo.training.metrics.confusion import mean, predicted_classes
from unetzoo.training.metrics.surfaces import surface, surface_distances


class BoundaryF1:
    """Mean over images and classes of the F1 score of the boundary pixels, within a tolerance.

    A class counts in the images whose target holds it; predicted nowhere there, it scores zero. Void pixels belong to
    no class, and boundary pixels beside them are not scored, as the true contour there is unknown.

    Args:
        num_classes: channels of the logits; 1 is read as background (0) against foreground (1).
        ignore_index: target value of void pixels.
        tolerance: distance in pixels within which boundaries match; default: 0.75 % of the image's
            diagonal, as in the paper.
    """

    def __init__(self, num_classes: int, *, ignore_index: int | None = None, tolerance: float | None = None) -> None:
        self.num_classes = max(2, num_classes)
        self.ignore_index = ignore_index
        self.tolerance = tolerance
        self._scores: dict[int, list[float]] = defaultdict(list)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Adds a batch: logits `(N, C, *spatial)` and class indices `(N, *spatial)`."""
        for predicted, actual in zip(predicted_classes(logits).cpu().numpy(), target.cpu().numpy(), strict=True):
            for label, score in self._image(predicted, actual).items():
                self._scores[label].append(score)

    def reset(self) -> None:
        """Forgets everything added so far."""
        self._scores.clear()

    def scores(self) -> dict[int, float]:
        """Class index to its mean score over the images whose target holds it."""
        return {label: sum(values) / len(values) for label, values in sorted(self._scores.items())}

    def mean(self) -> float:
        """Mean of `scores()`; NaN without any."""
        return mean(self.scores())

    def _image(self, predicted: np.ndarray, actual: np.ndarray) -> dict[int, float]:
        void = np.zeros(actual.shape, dtype=bool) if self.ignore_index is None else actual == self.ignore_index
        tolerance = 0.0075 * np.linalg.norm(actual.shape) if self.tolerance is None else self.tolerance
        scored = ~ndimage.binary_dilation(void)  # a pixel that touches void has no known contour
        return {
            label: _boundary_f1((predicted == label) & ~void, (actual == label) & ~void, scored, tolerance)
            for label in range(self.num_classes)
            if np.any((actual == label) & ~void)
        }


def _boundary_f1(predicted: np.ndarray, actual: np.ndarray, scored: np.ndarray, tolerance: float) -> float:
    if not predicted.any():
        return 0.0
    spacing = (1.0,) * actual.ndim
    met_predicted = surface_distances(predicted, actual, spacing)[scored[surface(predicted)]] <= tolerance
    met_actual = surface_distances(actual, predicted, spacing)[scored[surface(actual)]] <= tolerance
    if not met_predicted.size or not met_actual.size:
        return float(met_predicted.size == met_actual.size)
    precision, recall = met_predicted.mean(), met_actual.mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
