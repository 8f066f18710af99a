"""Losses on logits: those of the papers, and names for those that other libraries hold."""

from __future__ import annotations

from unetzoo.training.losses.border_weights import BorderCrossEntropy, border_weight_map
from unetzoo.training.losses.deep_supervision import DeepSupervision
from unetzoo.training.losses.mixture import LossMixture
from unetzoo.training.losses.ms_ssim import MultiScaleSSIMLoss
from unetzoo.training.losses.naming import list_losses, make_loss
from unetzoo.training.losses.pixelwise import BinaryCrossEntropy, CrossEntropy
from unetzoo.training.losses.regions import FBetaLoss

__all__ = [
    "BinaryCrossEntropy",
    "BorderCrossEntropy",
    "CrossEntropy",
    "DeepSupervision",
    "FBetaLoss",
    "LossMixture",
    "MultiScaleSSIMLoss",
    "border_weight_map",
    "list_losses",
    "make_loss",
]
