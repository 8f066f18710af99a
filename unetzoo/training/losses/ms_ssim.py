"""Multi-scale structural similarity of probabilities and target, a part of the UNet 3+ loss (Huang et al. 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from unetzoo.errors import InputError
from unetzoo.training.losses.targets import class_indices, valid_mask

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
WINDOW = 11


class MultiScaleSSIMLoss(nn.Module):
    """One minus the multi-scale SSIM of the class probabilities and the one-hot target (Wang et al. 2003).

    An image whose shortest side is under 176 pixels is too short for five scales of the 11-pixel window; it gets what
    fits, two at least, their weights scaled to the same sum. Ignored pixels are zero in both, so that nothing
    is asked of them.

    Args:
        num_classes: 1 for a sigmoid output, more for a softmax.
        ignore_index: target value of pixels that do not count.
    """

    def __init__(self, num_classes: int, *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`, spatial sizes 11 or more."""
        valid = valid_mask(target, self.ignore_index)
        labels = class_indices(target, valid)
        if self.num_classes == 1:
            probabilities, actual = logits.sigmoid(), labels.unsqueeze(1)
        else:
            probabilities, actual = logits.softmax(1), F.one_hot(labels, self.num_classes).movedim(-1, 1)
        counted = valid.unsqueeze(1).to(logits.dtype)
        return 1 - ms_ssim(probabilities * counted, actual * counted).mean()


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Multi-scale SSIM by torchmetrics of two batches `(N, C, *spatial)` of values from 0 to 1; `(N,)`.

    Raises:
        InputError: a side is shorter than the window of 11 pixels.
    """
    shortest = min(first.shape[2:])
    if shortest < WINDOW:
        raise InputError(f"spatial size {tuple(first.shape[2:])} is under the {WINDOW} pixels of the SSIM window")
    scales = max(n for n in range(2, len(SCALE_WEIGHTS) + 1) if n == 2 or shortest >= WINDOW * (n - 1) ** 2)
    share = sum(SCALE_WEIGHTS) / sum(SCALE_WEIGHTS[:scales])
    weights = tuple(weight * share for weight in SCALE_WEIGHTS[:scales])
    return multiscale_structural_similarity_index_measure(
        first, second, data_range=1.0, reduction="none", betas=weights, normalize="relu"
    )
