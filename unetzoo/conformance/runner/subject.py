"""The network under test: a name, a builder of fresh instances, and what is declared about it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from torch import nn

from unetzoo import registry
from unetzoo.catalog import info
from unetzoo.conformance.definition.context import Builder
from unetzoo.errors import ConfigError, UnknownNameError
from unetzoo.factory import create

ModelLike: TypeAlias = "str | Path | Mapping[str, object] | Builder"


@dataclass(frozen=True)
class Created:
    """Builder of a registered model or a config, by `unetzoo.create` with these options."""

    source: str | Path | Mapping[str, object]
    ndim: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        """The model that `unetzoo.create` builds from the source."""
        return create(
            self.source,
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=self.ndim,
            **{**self.options, **options},  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Subject:
    """A named builder with its declared capabilities."""

    name: str
    builder: Builder
    capabilities: Mapping[str, object] = field(default_factory=dict)


def resolve(
    model: ModelLike, capabilities: Mapping[str, object], options: Mapping[str, object] | None = None
) -> Subject:
    """The subject of whatever `check_model` was given; `options` go to every call of the builder.

    Raises ConfigError for a builder that cannot be imported, UnknownNameError for an unknown model, TypeError for
    something that is neither a name, a config nor callable.
    """
    options = dict(options or {})
    if isinstance(model, nn.Module):
        raise TypeError("check_model builds its own instances: pass the builder (a class or function), not a network")
    if isinstance(model, str) and ":" in model and not _is_registered(model):
        return Subject(model, _with(_imported(model), options), capabilities)
    if isinstance(model, (str, Path, Mapping)):
        name = str(model.get("name", "config")) if isinstance(model, Mapping) else str(model)
        capabilities = {**_of_card(model, capabilities.get("ndim"), counted=not options), **capabilities}
        ndim = capabilities.get("ndim")
        return Subject(name, Created(model, ndim if isinstance(ndim, int) else None, options), capabilities)
    if callable(model):
        return Subject(getattr(model, "__name__", type(model).__name__), _with(model, options), capabilities)
    raise TypeError(f"expected a name, a config or a builder, got {type(model).__name__}")


def _with(builder: Builder, options: Mapping[str, object]) -> Builder:
    return partial(builder, **options) if options else builder  # type: ignore[arg-type]


def _is_registered(reference: str) -> bool:
    """Whether this is the `distribution:name` of a model."""
    try:
        registry.find("model", reference)
    except UnknownNameError:
        return False
    return True


def _imported(reference: str) -> Builder:
    """The builder of `package.module:builder` or `folder/file.py:builder`; raises ConfigError if there is none.

    The folder of a file is put on the path, so that other processes can import the file too.
    """
    module, _, attribute = reference.rpartition(":")
    expected = "expected package.module:builder, file.py:builder or distribution:model"
    path = Path(module).resolve()
    if module.endswith(".py"):
        if not path.is_file():
            raise ConfigError(f"{reference!r}: there is no file {path}; {expected}")
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        module = path.stem
    try:
        imported = importlib.import_module(module)
        builder = getattr(imported, attribute)
    except Exception as error:  # whatever the module raises when it runs
        raise ConfigError(f"{reference!r} cannot be imported: {type(error).__name__}: {error}; {expected}") from error
    if path.suffix == ".py" and Path(imported.__file__ or "").resolve() != path:
        raise ConfigError(f"{reference!r}: a module {module!r} is imported from {imported.__file__}; rename the file")
    if isinstance(builder, nn.Module) or not callable(builder):
        raise ConfigError(
            f"{reference!r} is of type {type(builder).__name__}; expected a class or function that builds a network"
        )
    return builder


def _is_path(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or Path(source).is_file()


def _of_card(source: str | Path | Mapping[str, object], ndim: object, *, counted: bool) -> dict[str, object]:
    """What the card of a registered model declares: dimensions, rule of sizes, counts unless options change them."""
    if not isinstance(source, str) or _is_path(source):
        return {}
    card = info(source)
    ndim = ndim or min(card.ndim)
    capabilities: dict[str, object] = {"divisor": 1, "size_offset": 0, "margin": 0}  # any size, unless declared
    capabilities |= {**card.capabilities.stated(), "ndim": ndim}
    capabilities.pop("min_size", None)
    sizes = card.sizes
    if counted and sizes is not None and sizes.ndim == ndim:
        capabilities |= {"default_in_channels": sizes.in_channels, "default_num_classes": sizes.num_classes}
        capabilities["num_params"] = sizes.params
        if sizes.flops is not None and sizes.input is not None:
            capabilities |= {"macs": sizes.flops / 2, "macs_size": sizes.input}
    return capabilities
