"""The network under test: a name, a builder of fresh instances, and what is declared about it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torch import nn

from unetzoo.conformance.context import Builder

ModelLike: TypeAlias = "str | Path | Mapping[str, object] | Builder"


@dataclass(frozen=True)
class Created:
    """Builder of a registered model or a config, by ``unetzoo.create``."""

    source: str | Path | Mapping[str, object]

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        import unetzoo

        return unetzoo.create(self.source, in_channels=in_channels, num_classes=num_classes, **options)


@dataclass(frozen=True)
class Subject:
    """A named builder with its declared capabilities."""

    name: str
    builder: Builder
    capabilities: Mapping[str, object] = field(default_factory=dict)


def resolve(model: ModelLike, capabilities: Mapping[str, object]) -> Subject:
    """The subject of whatever ``check_model`` was given.

    Raises ImportError or AttributeError for a ``module:builder`` that is not there, TypeError for something that is
    neither a name, a config nor callable.
    """
    if isinstance(model, nn.Module):
        raise TypeError("check_model builds its own instances: pass the builder (a class or function), not a network")
    if isinstance(model, str) and ":" in model and "/" not in model:
        module, _, attribute = model.partition(":")
        return Subject(model, getattr(importlib.import_module(module), attribute), capabilities)
    if isinstance(model, (str, Path, Mapping)):
        name = str(model.get("name", "config")) if isinstance(model, Mapping) else str(model)
        return Subject(name, Created(model), {**_of_card(model), **capabilities})
    if callable(model):
        return Subject(getattr(model, "__name__", type(model).__name__), model, capabilities)
    raise TypeError(f"expected a name, a config or a builder, got {type(model).__name__}")


def _of_card(model: str | Path | Mapping[str, object]) -> dict[str, object]:
    return {}
