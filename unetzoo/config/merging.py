"""Drafts of configs: data that is extended and overridden before it is validated, with the place of every key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unetzoo.components.kinds import IN_CONFIG
from unetzoo.components.mistakes import KeyPath, Mistake, collected
from unetzoo.components.spec import merge, plain
from unetzoo.errors import ConfigError

COMPONENTS = (*IN_CONFIG, "init")
VARIANTS = ("in_2d", "in_3d")


@dataclass
class Draft:
    """A config before validation: its data, and where each key was written."""

    name: str
    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def override(self, changes: Mapping[str, object], origin: str) -> Draft:
        """Return the draft with `changes` merged in: mappings by key, a part by its options unless its name changes."""
        return self.merged(Draft(origin, plain(changes)))

    def merged(self, changes: Draft) -> Draft:
        """Return the draft with another one on top, under its own name."""
        origins = dict(self.origins)

        def note(path: KeyPath, replaced: bool) -> None:
            if replaced:
                for stale in [known for known in origins if known[: len(path)] == path]:
                    del origins[stale]
                inner = {known: at for known, at in changes.origins.items() if known[: len(path)] == path}
                origins.update(inner)
            origins[path] = changes.origins.get(path, changes.name)

        data = merge(self.data, changes.data, components=COMPONENTS, note=note)
        return Draft(self.name, data, origins)

    def for_ndim(self, ndim: object) -> Draft:
        """Return the draft with its keys for 2-D or 3-D merged in."""
        if not all(isinstance(self.data.get(key, {}), Mapping) for key in VARIANTS):
            return self
        base = {name: value for name, value in self.data.items() if name not in VARIANTS}
        return Draft(self.name, base, self.origins).merged(self._section(f"in_{ndim}d"))

    def tiny(self) -> Draft:
        """Return the draft with its keys for a small network merged in; call it after `for_ndim`.

        Raises `ConfigError` for a model that has none.
        """
        if not self.data.get("tiny"):
            raise ConfigError(f"{self.name!r} has no tiny variant: its config has no key 'tiny'")
        base = {name: value for name, value in self.data.items() if name != "tiny"}
        card = {key: value for key, value in base.get("card", {}).items() if key not in ("sizes", "checkpoints")}
        return Draft(self.name, {**base, "card": card}, self.origins).merged(self._section("tiny"))

    def _section(self, key: str) -> Draft:
        origins = {path[1:]: at for path, at in self.origins.items() if path[0] == key and len(path) > 1}
        return Draft(self.name, self.data.get(key, {}), origins)

    def fail(self, mistakes: Iterable[Mistake]) -> ConfigError:
        """Return the error that lists all mistakes with file, line and key."""
        return collected(f"the config of {self.name!r}", mistakes, self.origins)
