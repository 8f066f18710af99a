"""From what `create` is given to a draft: registered names, YAML files, mappings, and what they extend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from unetzoo import registry
from unetzoo.card import ModelCard
from unetzoo.components.kinds import PARTS
from unetzoo.components.mistakes import KeyPath, Mistake, mistakes_in
from unetzoo.components.spec import plain
from unetzoo.config.merging import VARIANTS, Draft
from unetzoo.config.schema import ModelConfig
from unetzoo.errors import ConfigError, PluginError
from unetzoo.yamlfile import read_yaml

NOT_INHERITED = (("card", "sizes"), ("card", "checkpoints"), ("capabilities", "min_size"))
"""Facts of one network, not of what extends it."""

Reference = str | os.PathLike[str] | Mapping[str, object] | ModelConfig


def resolve(reference: Reference) -> Draft:
    """Return the draft of what `create` is given: a registered name, a YAML file, a mapping or a `ModelConfig`.

    What a config extends is merged in. A model that is built by code becomes a config of its one component.
    """
    if isinstance(reference, ModelConfig):
        return Draft(reference.card.name or "a ModelConfig", reference.model_dump(mode="json", exclude_defaults=True))
    if isinstance(reference, Mapping):
        extended = reference.get("extends")
        return _extend(Draft(extended if isinstance(extended, str) else "custom", plain(reference)), Path(), ())
    if isinstance(reference, os.PathLike) or (isinstance(reference, str) and reference.endswith((".yaml", ".yml"))):
        path = Path(reference)
        return _read_file(path, path.stem, ())
    entry = registry.find("model", reference)
    if entry.config is not None:
        return _read_registered(reference, ())
    about = getattr(entry.load(), "about", {})
    if not isinstance(about, Mapping):
        raise PluginError(f"model {entry.name!r} of {entry.source}: about is {about!r}; expected a mapping")
    about = dict(about)
    capabilities = about.pop("capabilities", {"dimensions": [2]})
    card = {**about, "name": entry.name, "source": entry.source}
    return Draft(reference, {"model": {"name": reference}, "capabilities": capabilities, "card": card})


def read_card(reference: Reference) -> ModelCard:
    """Return the card of a model without building it."""
    draft = resolve(reference)
    config, mistakes = validate(draft.for_ndim(draft.data.get("ndim", 2)))
    if config is None:
        raise draft.fail(mistakes)
    return config.card.model_copy(update={"parts": config.parts, "capabilities": config.capabilities})


def validate(draft: Draft) -> tuple[ModelConfig | None, list[Mistake]]:
    """Return the config, or none and every mistake in it."""
    try:
        config = ModelConfig.model_validate(draft.data)
    except ValidationError as error:
        return None, mistakes_in(error, ModelConfig, draft.data)
    given = [part for part in PARTS if getattr(config, part) is not None]
    if config.model is not None and given:
        return None, [Mistake((part,), "a config with a 'model' component has no parts") for part in given]
    missing = [part for part in PARTS if part not in given and part != "center"]
    if config.model is None and missing:
        return None, [
            Mistake((part,), f"missing: expected the name of a {part}, or a 'model' component") for part in missing
        ]
    return config, []


def home_of(draft: Draft, path: KeyPath) -> str:
    """The distribution whose own components a name means first: the one in whose config it is written.

    For a name that is written elsewhere, it is the distribution of the model.
    """
    card = draft.data.get("card")
    written = next((draft.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in draft.origins), "")
    model = card.get("source") if isinstance(card, Mapping) else ""
    return registry.owner(written.rpartition(":")[0]) or (model if isinstance(model, str) else "")


def _read_registered(name: str, chain: tuple[Path, ...]) -> Draft:
    entry = registry.find("model", name, home=registry.owner(chain[-1]) if chain else "")
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
    for section, key in NOT_INHERITED:
        if isinstance(held := parent.data.get(section), dict):
            held.pop(key, None)
    for variant in (parent.data, *(parent.data.get(key, {}) for key in VARIANTS)):
        variant.pop("tiny", None)
    extended = parent.merged(draft)
    return Draft(draft.name, extended.data, extended.origins)
