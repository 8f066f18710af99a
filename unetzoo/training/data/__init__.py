"""Data for training: folders of images and masks, presets of public data sets, crops and normalization."""

from __future__ import annotations

from unetzoo.training.data.classes import ClassTable
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.crops import RandomCrops
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.loading import SegmentationData, load_data
from unetzoo.training.data.presets import Preset, list_presets, preset
from unetzoo.training.data.samples import Sample, SegmentationFolder

__all__ = [
    "ClassTable",
    "DataConfig",
    "DataError",
    "Preset",
    "RandomCrops",
    "Sample",
    "SegmentationData",
    "SegmentationFolder",
    "list_presets",
    "load_data",
    "preset",
]
