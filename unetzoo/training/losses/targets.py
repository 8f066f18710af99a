"""What all losses do with a target: its form checked, its ignored pixels left out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from unetzoo.errors import InputError

Mode = Literal["binary", "multiclass", "multilabel", "regression"]


def valid_mask(target: Tensor, ignore_index: int | None) -> Tensor:
    """True where the pixel counts."""
    return torch.ones_like(target, dtype=torch.bool) if ignore_index is None else target != ignore_index


def class_indices(target: Tensor, valid: Tensor) -> Tensor:
    """The target as int64, ignored pixels as class 0, which the caller masks afterwards."""
    return torch.where(valid, target, 0).long()


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of `values` by `weights`; zero, with a zero gradient, where no weight is left."""
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1)


def prepare_target(logits: Tensor, target: Tensor, mode: Mode, num_classes: int, ignore_index: int | None) -> Tensor:
    """Checks the target against the logits and returns it in the one form that the losses take.

    Binary and multiclass targets become `(N, *spatial)`; a channel axis of one is dropped. Multilabel and regression
    targets keep the shape of the logits.

    Raises:
        InputError: shapes do not fit, or (checked on the CPU only, where it costs no synchronization) a class index is
            outside `0 .. num_classes - 1`.
    """
    if logits.ndim < 3 or logits.shape[1] != num_classes:
        raise InputError(
            f"logits have shape {tuple(logits.shape)}; num_classes={num_classes}: expected (N, {num_classes}, *spatial)"
        )
    indexed = mode in ("binary", "multiclass")
    if indexed and target.ndim == logits.ndim and target.shape[1] == 1:
        target = target[:, 0]
    expected = (logits.shape[0], *logits.shape[2:]) if indexed else tuple(logits.shape)
    if tuple(target.shape) != expected:
        raise InputError(
            f"target has shape {tuple(target.shape)}; logits {tuple(logits.shape)} in mode {mode!r} need {expected}"
        )
    if mode != "regression" and target.device.type == "cpu":
        _check_labels(target, num_classes if mode == "multiclass" else 2, ignore_index)
    return target.long() if mode == "multiclass" else target


def _check_labels(target: Tensor, num_labels: int, ignore_index: int | None) -> None:
    labels = target[valid_mask(target, ignore_index)]
    if labels.numel() and (labels.min() < 0 or labels.max() >= num_labels):
        raise InputError(
            f"target holds values from {labels.min().item()} to {labels.max().item()}; expected 0 to {num_labels - 1}"
            + ("" if ignore_index is None else f" or ignore_index={ignore_index}")
            + "; is a void label missing from ignore_index, or a class missing from num_classes?"
        )
