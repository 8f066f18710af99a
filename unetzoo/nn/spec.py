"""Layers by name and options, as configs write them: `"group"` or `{"name": "group", "num_groups": 8}`."""

from __future__ import annotations

from collections.abc import Iterable

from unetzoo.errors import ConfigError, nearest
from unetzoo.nn.typing import Spec


def split_spec(spec: Spec, what: str, known: Iterable[str]) -> tuple[str, dict[str, object]]:
    """Return the name and the options of `spec`; `ConfigError` if the name is not one of `known`."""
    options: dict[str, object] = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    choices = sorted(known)
    if not isinstance(name, str) or name not in choices:
        raise ConfigError(f"unknown {what} {name!r}: expected one of {', '.join(choices)}{nearest(str(name), choices)}")
    return name, options
