"""Losses that average over the pixels, with ignored pixels left out of the sum and of the count."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from kornia.losses import binary_focal_loss_with_logits, focal_loss
from torch import Tensor, nn

from unetzoo.training.losses.targets import class_indices, masked_mean, valid_mask


class CrossEntropy(nn.Module):
    """Softmax cross-entropy; unlike torch's, a batch of ignored pixels alone gives zero, not NaN.

    Args:
        ignore_index: target value of pixels that do not count.
        class_weights: one weight a class; the mean is then over the weights, as in torch.
        label_smoothing: fraction of the target that is spread over all classes.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`."""
        valid = valid_mask(target, self.ignore_index)
        labels = class_indices(target, valid)
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        per_pixel = F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=self.label_smoothing)
        counted = valid.to(logits.dtype)
        if weights is None:
            return masked_mean(per_pixel, counted)
        total = (weights[labels] * counted).sum()
        return (per_pixel * counted).sum() / torch.where(total > 0, total, 1)


class BinaryCrossEntropy(nn.Module):
    """Sigmoid cross-entropy of one output or of several independent ones.

    Args:
        ignore_index: target value of pixels that do not count.
        pos_weight: weight of the positive pixels, one number or one an output.
    """

    pos_weight: Tensor | None

    def __init__(self, *, ignore_index: int | None = None, pos_weight: float | Sequence[float] | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        weights = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float32)
        self.register_buffer("pos_weight", weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)`; the target has that shape, or lacks the channel axis if C is 1."""
        if target.ndim < logits.ndim:
            target = target.unsqueeze(1)
        valid = valid_mask(target, self.ignore_index)
        labels = torch.where(valid, target, 0).to(logits.dtype)
        pos_weight = self.pos_weight
        if pos_weight is not None:
            pos_weight = pos_weight.to(logits).reshape(-1, *[1] * (logits.ndim - 2))
        loss = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=pos_weight, reduction="none")
        return masked_mean(loss, valid.to(loss.dtype))


class Focal(nn.Module):
    """Focal loss (Lin et al. 2017, eq. 4) by kornia, averaged over the pixels that count.

    Args:
        num_classes: 1 for a sigmoid output, more for a softmax.
        ignore_index: target value of pixels that do not count.
        gamma: how far pixels that are already right are damped; zero is cross-entropy.
        alpha: weight of the positive pixels (one output) or of all classes but 0 (several), against `1 - alpha`.
    """

    def __init__(
        self, num_classes: int, *, ignore_index: int | None = None, gamma: float = 2.0, alpha: float | None = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`."""
        valid = valid_mask(target, self.ignore_index)
        labels = class_indices(target, valid)
        if self.num_classes == 1:
            per_class = binary_focal_loss_with_logits(
                logits, labels.unsqueeze(1).to(logits.dtype), alpha=self.alpha, gamma=self.gamma, reduction="none"
            )
        else:
            per_class = focal_loss(logits, labels, alpha=self.alpha, gamma=self.gamma, reduction="none")
        return masked_mean(per_class.sum(1), valid.to(logits.dtype))


class Regression(nn.Module):
    """Mean of a distance per pixel, for denoising and other outputs that are no classes.

    Args:
        distance: `torch.nn.functional.mse_loss`, `l1_loss` or one of the same signature.
        ignore_index: target value of pixels that do not count.
    """

    def __init__(self, distance: Callable[..., Tensor], *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.distance = distance
        self.ignore_index = ignore_index

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of an output against a target of the same shape."""
        valid = valid_mask(target, self.ignore_index)
        loss = self.distance(output, torch.where(valid, target, 0).to(output.dtype), reduction="none")
        return masked_mean(loss, valid.to(loss.dtype))
