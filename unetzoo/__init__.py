"""unetzoo: a model zoo for dense prediction.

Names resolve on first use, so that `import unetzoo` and `unetzoo.list_models()` load neither torch nor timm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from unetzoo.catalog import info, list_components, list_models
from unetzoo.errors import CheckpointError, ConfigError, InputError, PluginError, UnetzooError, UnknownNameError
from unetzoo.registry import register, unregister

if TYPE_CHECKING:
    from unetzoo import conformance as conformance
    from unetzoo import inference as inference
    from unetzoo import training as training
    from unetzoo.applied import Classes, Provenance
    from unetzoo.capabilities import Capabilities
    from unetzoo.card import ModelCard
    from unetzoo.checkpoints.loading import load_checkpoint
    from unetzoo.config.schema import ModelConfig
    from unetzoo.factory import create
    from unetzoo.inference.predictor import Prediction, Predictor
    from unetzoo.network import DenseModel, Network
    from unetzoo.optimization import OptimizationReport, OptimizedModel, optimize
    from unetzoo.preprocessing import Preprocessing
    from unetzoo.pretrained import from_pretrained, save_pretrained

__version__ = "0.1.0"

__all__ = [
    "Capabilities",
    "CheckpointError",
    "Classes",
    "ConfigError",
    "DenseModel",
    "InputError",
    "ModelCard",
    "ModelConfig",
    "Network",
    "OptimizationReport",
    "OptimizedModel",
    "PluginError",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "Provenance",
    "UnetzooError",
    "UnknownNameError",
    "create",
    "from_pretrained",
    "info",
    "list_components",
    "list_models",
    "load_checkpoint",
    "optimize",
    "register",
    "save_pretrained",
    "unregister",
]

_LAZY = {
    "Classes": "applied",
    "Capabilities": "capabilities",
    "DenseModel": "network",
    "ModelCard": "card",
    "ModelConfig": "config.schema",
    "Network": "network",
    "OptimizationReport": "optimization",
    "OptimizedModel": "optimization",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Preprocessing": "preprocessing",
    "Provenance": "applied",
    "create": "factory",
    "from_pretrained": "pretrained",
    "load_checkpoint": "checkpoints.loading",
    "optimize": "optimization",
    "save_pretrained": "pretrained",
}
_SUBPACKAGES = ("conformance", "inference", "training")


def __getattr__(name: str) -> object:
    if name in _SUBPACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'unetzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
