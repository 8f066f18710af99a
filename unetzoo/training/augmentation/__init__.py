"""Augmentation on the device of the batch: image and labels together, in 2-D and 3-D."""

from __future__ import annotations

from unetzoo.training.augmentation.config import Affine, AugmentationConfig, Color, Elastic
from unetzoo.training.augmentation.module import Augmentation, make_augmentation

__all__ = ["Affine", "Augmentation", "AugmentationConfig", "Color", "Elastic", "make_augmentation"]
