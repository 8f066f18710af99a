"""A component or layer by name and options, as configs write it: `"group"` or `{"name": "group", "num_groups": 8}`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from unetzoo.errors import ConfigError

DEEPEST = 50  # levels of mappings and lists within each other
Spec = str | Mapping[str, object]


def split(spec: object) -> tuple[object, dict[str, Any]]:
    """Return the name and the options; a name that is missing or no text is for the caller to refuse.

    >>> split("group"), split({"name": "group", "num_groups": 8})
    (('group', {}), ('group', {'num_groups': 8}))
    """
    if not isinstance(spec, Mapping):
        return spec, {}
    options = dict(spec)
    return options.pop("name", None), options


def name_of(spec: Spec) -> object:
    """Return the name: a bare name and a mapping of the name alone are the same thing."""
    return split(spec)[0]


def named(value: Any) -> Any:
    """Return a bare name as a mapping, anything else unchanged."""
    return {"name": value} if isinstance(value, str) else value


def plain(value: Any, depth: int = 0) -> Any:
    """Return plain data: numbers of numpy as Python's, mappings and sequences with plain contents.

    Objects that are neither, such as modules or classes, stay as they are. Raises `ConfigError` for data nested deeper
    than `DEEPEST`, which also ends what holds itself.
    """
    if isinstance(value, Mapping | list | tuple) and depth >= DEEPEST:
        raise ConfigError(f"data is nested more than {DEEPEST} deep; expected options of options, a few levels")
    if isinstance(value, Mapping):
        return {key: plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inner = [plain(each, depth + 1) for each in value]
        return inner if isinstance(value, list) else tuple(inner)
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def merge(
    base: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    components: Collection[str] | None = None,
    note: Callable[[tuple[str, ...], bool], None] = lambda path, replaced: None,
    path: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return `base` with `changes` on top: mappings by key; where a name changes, the options of the old one go.

    Args:
        base: what is changed; it stays as it is.
        changes: what is written over it.
        components: keys at the top whose values are components, so that a bare name and a mapping meet as equals;
            None for all.
        note: called with the path of each changed key, and whether its value was replaced as a whole.
        path: keys that lead to `base`.

    >>> merge({"up": {"name": "linear", "kernel_size": 3}}, {"up": "linear"})
    {'up': {'name': 'linear', 'kernel_size': 3}}
    >>> merge({"decoder": {"name": "unet", "skip": "add"}}, {"decoder": {"name": "linknet"}})
    {'decoder': {'name': 'linknet'}}
    """
    merged = dict(base)
    for key, new in changes.items():
        inner, old = (*path, key), merged.get(key)
        if (components is None or inner[0] in components) and isinstance(old, Mapping) | isinstance(new, Mapping):
            old, new = named(old), named(new)
        if (
            isinstance(old, Mapping)
            and isinstance(new, Mapping)
            and new.get("name", old.get("name")) == old.get("name")
        ):
            merged[key] = merge(old, new, components=components, note=note, path=inner)
            note(inner, False)
        else:
            merged[key] = new
            note(inner, True)
    return merged
