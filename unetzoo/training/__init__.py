"""Training: losses, metrics, data and the loop; every name is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unetzoo.training.data import load_data
    from unetzoo.training.evaluation import evaluate
    from unetzoo.training.loop import train
    from unetzoo.training.losses import DeepSupervision, border_weight_map, list_losses, make_loss
    from unetzoo.training.metrics import BoundaryF1, ConfusionMatrix, VolumeScores
    from unetzoo.training.recipe import Recipe, read_recipe

_LOCATIONS = {
    "BoundaryF1": "unetzoo.training.metrics",
    "ConfusionMatrix": "unetzoo.training.metrics",
    "DeepSupervision": "unetzoo.training.losses",
    "Recipe": "unetzoo.training.recipe",
    "VolumeScores": "unetzoo.training.metrics",
    "border_weight_map": "unetzoo.training.losses",
    "evaluate": "unetzoo.training.evaluation",
    "list_losses": "unetzoo.training.losses",
    "load_data": "unetzoo.training.data",
    "make_loss": "unetzoo.training.losses",
    "read_recipe": "unetzoo.training.recipe",
    "train": "unetzoo.training.loop",
}

__all__ = [
    "BoundaryF1",
    "ConfusionMatrix",
    "DeepSupervision",
    "Recipe",
    "VolumeScores",
    "border_weight_map",
    "evaluate",
    "list_losses",
    "load_data",
    "make_loss",
    "read_recipe",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOCATIONS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
