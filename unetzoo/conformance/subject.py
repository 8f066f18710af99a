"""The network under test: a name, a builder of fresh instances, and what is declared about it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torch import nn

from unetzoo.conformance.context import Builder
from unetzoo.errors import ConfigError

ModelLike: TypeAlias = "str | Path | Mapping[str, object] | Builder"


@dataclass(frozen=True)
class Created:
    """Builder of a registered model or a config, by ``unetzoo.create``."""

    source: str | Path | Mapping[str, object]
    ndim: int | None = None

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        """The model that ``unetzoo.create`` builds from the source."""
        import unetzoo

        return unetzoo.create(
            self.source,
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=self.ndim,
            **options,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Subject:
    """A named builder with its declared capabilities."""

    name: str
    builder: Builder
    capabilities: Mapping[str, object] = field(default_factory=dict)


def resolve(model: ModelLike, capabilities: Mapping[str, object]) -> Subject:
    """The subject of whatever ``check_model`` was given.

    Raises ConfigError for a ``module:builder`` that is not there, TypeError for something that is neither a name, a
    config nor callable.
    """
    if isinstance(model, nn.Module):
        raise TypeError("check_model builds its own instances: pass the builder (a class or function), not a network")
    if isinstance(model, str) and ":" in model and "/" not in model:
        module, _, attribute = model.partition(":")
        try:
            return Subject(model, getattr(importlib.import_module(module), attribute), capabilities)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{model!r} cannot be imported: {error}; expected package.module:builder") from error
    if isinstance(model, (str, Path, Mapping)):
        name = str(model.get("name", "config")) if isinstance(model, Mapping) else str(model)
        capabilities = {**_of_card(model, capabilities.get("ndim")), **capabilities}
        ndim = capabilities.get("ndim")
        return Subject(name, Created(model, ndim if isinstance(ndim, int) else None), capabilities)
    if callable(model):
        name = getattr(model, "__name__", type(model).__name__)
        return Subject(name, model, capabilities)
    raise TypeError(f"expected a name, a config or a builder, got {type(model).__name__}")


def _is_path(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or Path(source).is_file()


def _of_card(source: str | Path | Mapping[str, object], ndim: object) -> dict[str, object]:
    """What the card of a registered model declares: dimensions, rule of sizes, counts, deep supervision."""
    import unetzoo

    if not isinstance(source, str) or _is_path(source):
        return {}
    card = unetzoo.info(source)
    ndim = ndim or min(card.ndim)
    capabilities: dict[str, object] = {"ndim": ndim}
    if card.unpadded is None:
        capabilities |= {"divisor": 1, "size_offset": 0, "margin": 0}
    else:
        rule = card.unpadded
        capabilities |= {"divisor": rule.divisor, "size_offset": rule.offset % rule.divisor, "margin": rule.margin}
    sizes = card.sizes
    if sizes is not None and sizes.ndim == ndim:
        capabilities |= {"default_in_channels": sizes.in_channels, "default_num_classes": sizes.num_classes}
        capabilities["num_params"] = sizes.params
        if sizes.flops is not None and sizes.input is not None:
            capabilities |= {"macs": sizes.flops / 2, "macs_size": sizes.input}
    return {**capabilities, **card.capabilities}
