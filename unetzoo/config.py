"""Configs: what a model is made of, read from YAML, extended, overridden and validated with every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from unetzoo import registry
from unetzoo.applied import Classes, Provenance
from unetzoo.card import ModelCard
from unetzoo.errors import ConfigError, nearest
from unetzoo.preprocessing import Preprocessing
from unetzoo.yamlfile import KeyPath, read_yaml

PART_KINDS = ("model", "encoder", "center", "decoder", "head", "block")
NOT_INHERITED = ("sizes", "checkpoints", "min_size")  # facts of one network, not of what extends it


class PartConfig(BaseModel):
    """A component by name, with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_name(cls, value: object) -> object:
        return named(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}

    @property
    def options(self) -> dict[str, object]:
        """The options without the name."""
        return dict(self.model_extra or {})


class ModelConfig(BaseModel):
    """A model: either a `model` component, or an encoder, a center, a decoder and a head."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    PARTS: ClassVar = ("encoder", "center", "decoder", "head")

    extends: str | None = Field(None, description="name of a registered config, or path of a YAML file, to start from")
    model: PartConfig | None = Field(None, description="a network that does not fit the four parts")
    encoder: PartConfig | None = None
    center: PartConfig | None = None
    decoder: PartConfig | None = None
    head: PartConfig | None = None
    block: PartConfig | None = Field(None, description="block of every part that takes one and does not name its own")
    ndim: int = Field(2, ge=2, le=3, strict=True, description="spatial dimensions")
    in_2d: dict[str, Any] = Field({}, description="keys that differ where the model is created with ndim=2")
    in_3d: dict[str, Any] = Field({}, description="keys that differ where the model is created with ndim=3")
    in_channels: int = Field(3, ge=1, strict=True)
    num_classes: int = Field(1, ge=1, strict=True)
    init: str | dict[str, str | float] | None = Field(
        None, description="scheme that the weights are initialized by, with its options; torch's own unless told"
    )
    deep_supervision: bool = Field(False, strict=True, description="training mode returns several levels' logits")
    preprocessing: Preprocessing | None = Field(None, description="how images are prepared for the weights")
    classes: Classes | None = Field(None, description="what the outputs stand for: names, colors, void")
    provenance: Provenance | None = Field(None, description="where the weights come from")
    card: ModelCard = ModelCard()
    layouts: dict[str, dict[str, str | None]] = Field(
        {}, description="key layouts of the authors' checkpoints: their keys to ours, or to null for what is dropped"
    )


Reference = str | os.PathLike[str] | Mapping[str, object] | ModelConfig


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a config: where, and what was expected."""

    path: KeyPath
    message: str


@dataclass
class Draft:
    """A config before validation: its data, and where each key was written."""

    name: str
    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def override(self, changes: Mapping[str, object], origin: str) -> Draft:
        """Return the draft with `changes` merged in: mappings by key, a part by its options unless its name changes."""
        origins = dict(self.origins)
        data = _merge(self.data, changes, (), origins, {}, origin)
        return Draft(self.name, data, origins)

    def for_ndim(self, ndim: object) -> Draft:
        """Return the draft with its keys for 2-D or 3-D merged in."""
        variants = {name: value for name, value in self.data.items() if name in ("in_2d", "in_3d")}
        key = f"in_{ndim}d"
        changes = variants.get(key, {})
        if not all(isinstance(value, Mapping) for value in variants.values()):
            return self
        base = {name: value for name, value in self.data.items() if name not in variants}
        inner = {path[1:]: at for path, at in self.origins.items() if path[0] == key and len(path) > 1}
        origins = dict(self.origins)
        return Draft(self.name, _merge(base, changes, (), origins, inner, self.name), origins)

    def fail(self, mistakes: Iterable[Mistake]) -> ConfigError:
        """Return the error that tells all mistakes with file, line and key."""
        lines = [f"{self._where(mistake.path)}{'.'.join(mistake.path)}: {mistake.message}" for mistake in mistakes]
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        return ConfigError(f"{count} in the config of {self.name!r}:\n  " + "\n  ".join(lines))

    def _where(self, path: KeyPath) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return f"{self.origins[path[:length]]}: "
        return ""


def resolve(reference: Reference) -> Draft:
    """Return the draft of what `create` is given: a registered name, a YAML file, a mapping or a `ModelConfig`.

    What a config extends is merged in. A model that is built by code becomes a config of its one component.
    """
    if isinstance(reference, ModelConfig):
        return Draft(reference.card.name or "a ModelConfig", reference.model_dump(mode="json", exclude_defaults=True))
    if isinstance(reference, Mapping):
        return _extend(Draft("a mapping", dict(reference)), Path(), ())
    if isinstance(reference, os.PathLike) or (isinstance(reference, str) and reference.endswith((".yaml", ".yml"))):
        path = Path(reference)
        return _read_file(path, path.stem, ())
    entry = registry.find("model", reference)
    if entry.config is not None:
        return _read_registered(reference, ())
    card = {**getattr(entry.load(), "about", {}), "name": entry.name, "source": entry.source}
    return Draft(reference, {"model": {"name": reference}, "card": card})


def read_card(reference: Reference) -> ModelCard:
    """Return the card of a model without building it."""
    draft = resolve(reference)
    config, mistakes = validate(draft.for_ndim(draft.data.get("ndim", 2)))
    if config is None:
        raise draft.fail(mistakes)
    return config.card.model_copy(update={"parts": parts_of(config)})


def parts_of(config: ModelConfig) -> dict[str, str]:
    """Return the name of the component of each kind."""
    return {kind: part.name for kind in PART_KINDS if (part := getattr(config, kind)) is not None}


def validate(draft: Draft) -> tuple[ModelConfig | None, list[Mistake]]:
    """Return the config, or none and every mistake in it."""
    try:
        config = ModelConfig.model_validate(draft.data)
    except ValidationError as error:
        return None, [_mistake(problem) for problem in error.errors()]
    given = [part for part in ModelConfig.PARTS if getattr(config, part) is not None]
    if config.model is not None and given:
        return None, [Mistake((part,), "a config with a 'model' component has no parts of its own") for part in given]
    missing = [part for part in ModelConfig.PARTS if part not in given and part != "center"]
    if config.model is None and missing:
        return None, [
            Mistake((part,), f"missing: expected the name of a {part}, or a 'model' component") for part in missing
        ]
    return config, []


def _mistake(problem: Any) -> Mistake:
    path = tuple(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ModelConfig.model_fields if len(path) == 1 else ModelCard.model_fields
        return Mistake(path, f"unknown key{nearest(path[-1], known)}")
    return Mistake(path, f"{problem['msg'].lower()}, got {problem['input']!r}"[:400])


def _read_registered(name: str, chain: tuple[Path, ...]) -> Draft:
    entry = registry.find("model", name)
    if entry.config is None:
        raise ConfigError(f"{name!r} of {entry.source} is built by code, not by a config, and cannot be extended")
    draft = _read_file(entry.config, entry.name, chain)
    draft.data["card"] = {**(draft.data.get("card") or {}), "name": entry.name, "source": entry.source}
    return draft


def _read_file(path: Path, name: str, chain: tuple[Path, ...]) -> Draft:
    path = path.resolve()
    if path in chain:
        steps = " -> ".join(step.name for step in (*chain, path))
        raise ConfigError(f"{path}: the config extends itself: {steps}")
    data, lines = read_yaml(path)
    draft = Draft(name, data, {key: f"{path}:{line}" for key, line in lines.items()})
    return _extend(draft, path.parent, (*chain, path))


def _extend(draft: Draft, folder: Path, chain: tuple[Path, ...]) -> Draft:
    base = draft.data.pop("extends", None)
    if base is None:
        return draft
    if not isinstance(base, str):
        raise draft.fail([Mistake(("extends",), f"expected the name of a config or a path, got {base!r}")])
    is_file = base.endswith((".yaml", ".yml"))
    parent = _read_file(folder / base, Path(base).stem, chain) if is_file else _read_registered(base, chain)
    inherited = parent.data.get("card")
    if isinstance(inherited, dict):
        parent.data["card"] = {key: value for key, value in inherited.items() if key not in NOT_INHERITED}
    origins = dict(parent.origins)
    data = _merge(parent.data, draft.data, (), origins, draft.origins, draft.name)
    return Draft(draft.name, data, origins)


def _merge(
    base: Mapping[str, Any],
    changes: Mapping[str, Any],
    path: KeyPath,
    origins: dict[KeyPath, str],
    changed_origins: Mapping[KeyPath, str],
    origin: str,
) -> dict[str, Any]:
    """Return `base` with `changes` on top; where a name changes, the options of the old one go with it."""
    merged = dict(base)
    for key, new in changes.items():
        inner = (*path, key)
        old = merged.get(key)
        if inner[0] in PART_KINDS and (isinstance(old, Mapping) or isinstance(new, Mapping)):
            old, new = named(old), named(new)
        if (
            isinstance(old, Mapping)
            and isinstance(new, Mapping)
            and new.get("name", old.get("name")) == old.get("name")
        ):
            merged[key] = _merge(old, new, inner, origins, changed_origins, origin)
        else:
            merged[key] = new
            for stale in [known for known in origins if known[: len(inner)] == inner]:
                del origins[stale]
            origins.update({known: at for known, at in changed_origins.items() if known[: len(inner)] == inner})
        origins[inner] = changed_origins.get(inner, origin)
    return merged


def named(value: Any) -> Any:
    """Return a component or layer that is given by its bare name as a mapping."""
    return {"name": value} if isinstance(value, str) else value


def merge_options(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the component `base` with `changes` on top, or `changes` alone if they name another component."""
    return _merge({"block": base}, {"block": changes}, (), {}, {}, "")["block"]
