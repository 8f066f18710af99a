"""Applying trained networks: prediction at any size and test-time augmentation; names are imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unetzoo.inference.planning import plan_exact
    from unetzoo.inference.predictor import Prediction, Predictor
    from unetzoo.inference.run.tta import TestTimeAugmentation
    from unetzoo.inference.tiled import predict_tiled

_LOCATIONS = {
    "Prediction": "unetzoo.inference.predictor",
    "Predictor": "unetzoo.inference.predictor",
    "TestTimeAugmentation": "unetzoo.inference.run.tta",
    "plan_exact": "unetzoo.inference.planning",
    "predict_tiled": "unetzoo.inference.tiled",
}

__all__ = ["Prediction", "Predictor", "TestTimeAugmentation", "plan_exact", "predict_tiled"]


def __getattr__(name: str) -> object:
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOCATIONS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
