"""Metrics of a whole split; absent classes are not counted, void is ignored."""

from __future__ import annotations

from unetzoo.training.metrics.boundary import BoundaryF1
from unetzoo.training.metrics.confusion import ConfusionMatrix, SegmentationScores
from unetzoo.training.metrics.smoothed import smoothed_batch_iou
from unetzoo.training.metrics.volumes import VolumeScores

__all__ = ["BoundaryF1", "ConfusionMatrix", "SegmentationScores", "VolumeScores", "smoothed_batch_iou"]
