"""Training: losses, metrics, data and the loop; every name is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unetzoo.training.losses import DeepSupervision, border_weight_map, list_losses, make_loss
    from unetzoo.training.metrics import BoundaryF1, ConfusionMatrix, VolumeScores

_LOCATIONS = {
    "BoundaryF1": "unetzoo.training.metrics",
    "ConfusionMatrix": "unetzoo.training.metrics",
    "DeepSupervision": "unetzoo.training.losses",
    "VolumeScores": "unetzoo.training.metrics",
    "border_weight_map": "unetzoo.training.losses",
    "list_losses": "unetzoo.training.losses",
    "make_loss": "unetzoo.training.losses",
}

__all__ = [
    "BoundaryF1",
    "ConfusionMatrix",
    "DeepSupervision",
    "VolumeScores",
    "border_weight_map",
    "list_losses",
    "make_loss",
]


def __getattr__(name: str) -> object:
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOCATIONS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
