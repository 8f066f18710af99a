"""Per-class Dice and 95 % Hausdorff distance of volumes, one by one, as medical studies report them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from unetzoo.errors import InputError
from unetzoo.training.metrics.confusion import mean, predicted_classes
from unetzoo.training.metrics.surfaces import hausdorff_distance


class VolumeScores:
    """Mean over volumes of the Dice score and of the 95 % Hausdorff distance of every class but the background.

    A class counts in the volumes whose target holds it. Where it is predicted nowhere there, its Dice is zero and its
    distance the volume's diagonal, the largest there could be. Void voxels are background in target and prediction.

    Args:
        num_classes: channels of the logits; 1 is read as background (0) against foreground (1).
        ignore_index: target value of void voxels.
    """

    def __init__(self, num_classes: int, *, ignore_index: int | None = None) -> None:
        self.num_classes = max(2, num_classes)
        self.ignore_index = ignore_index
        self._dice: dict[int, list[float]] = defaultdict(list)
        self._distances: dict[int, list[float]] = defaultdict(list)

    def update(self, logits: Tensor, target: Tensor, spacing: Sequence[float] | None = None) -> None:
        """Adds volumes: logits `(N, C, *spatial)`, class indices `(N, *spatial)`.

        Args:
            spacing: size of a voxel along each axis, in the unit of the distances; default: one pixel.
        """
        axes = target.ndim - 1
        spacing = (1.0,) * axes if spacing is None else tuple(spacing)
        if len(spacing) != axes or min(spacing) <= 0:
            raise InputError(f"spacing is {spacing}; expected {axes} numbers above zero, one for each axis")
        for predicted, actual in zip(predicted_classes(logits).cpu().numpy(), target.cpu().numpy(), strict=True):
            self._volume(predicted, actual, spacing)

    def reset(self) -> None:
        """Forgets everything added so far."""
        self._dice.clear()
        self._distances.clear()

    def dice(self) -> dict[int, float]:
        """Class index to its mean Dice score over the volumes that hold it."""
        return {label: sum(values) / len(values) for label, values in sorted(self._dice.items())}

    def hausdorff95(self) -> dict[int, float]:
        """Class index to its mean 95 % Hausdorff distance over the volumes that hold it."""
        return {label: sum(values) / len(values) for label, values in sorted(self._distances.items())}

    def mean_dice(self) -> float:
        """Mean of `dice()`; NaN without any class."""
        return mean(self.dice())

    def mean_hausdorff95(self) -> float:
        """Mean of `hausdorff95()`; NaN without any class."""
        return mean(self.hausdorff95())

    def _volume(self, predicted: np.ndarray, actual: np.ndarray, spacing: Sequence[float]) -> None:
        valid = np.ones(actual.shape, dtype=bool) if self.ignore_index is None else actual != self.ignore_index
        diagonal = float(np.linalg.norm(np.multiply(actual.shape, spacing)))
        for label in range(1, self.num_classes):
            truth, guess = valid & (actual == label), valid & (predicted == label)
            if not truth.any():
                continue
            self._dice[label].append(2 * float((truth & guess).sum()) / float(truth.sum() + guess.sum()))
            self._distances[label].append(hausdorff_distance(guess, truth, spacing) if guess.any() else diagonal)
