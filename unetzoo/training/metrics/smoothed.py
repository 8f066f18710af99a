"""The smoothed score per batch that flatters a prediction; kept to show by how much, not to report."""

from __future__ import annotations

from torch import Tensor

from unetzoo.training.losses.regions import soft_counts


def smoothed_batch_iou(
    logits: Tensor, target: Tensor, *, ignore_index: int | None = None, smooth: float = 1e-5
) -> float:
    """Mean over *all* classes of the soft IoU of one batch, `smooth` added above and below.

    A class that is neither in the batch nor predicted scores `smooth / smooth`, that is one: with many classes and few
    of them in a batch the score is near one whatever the network says. Use `ConfusionMatrix` to measure a network.

    Args:
        logits: `(N, C, *spatial)`.
        target: class indices `(N, *spatial)`.
        ignore_index: target value of pixels that do not count.
        smooth: the constant; 1e-5 is common.
    """
    hits, predicted, actual = soft_counts(logits, target, ignore_index)
    return ((hits + smooth) / (predicted + actual - hits + smooth)).mean().item()
