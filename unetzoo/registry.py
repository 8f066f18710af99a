"""Names to components: entry points of installed distributions, namespaces served by providers, runtime registration.

Names come from metadata alone; a plugin is imported when one of its names is asked for. The built-in parts are
registered through the same entry-point groups as everyone else's.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, TypeVar, overload, runtime_checkable

from unetzoo.components.kinds import KINDS
from unetzoo.errors import PluginError, UnetzooError, UnknownNameError, nearest

RUNTIME = "runtime"  # the source of what `register` adds; no distribution can have added it

_PART = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
_REFERENCE = re.compile(rf"(?:(?P<source>{_PART}):)?(?P<name>{_PART}(?:/{_PART})*)")

Component = Callable[..., object]
C = TypeVar("C", bound=Component)


@runtime_checkable
class Provider(Protocol):
    """Serves a whole namespace (`timm/...`); the entry point's name is the namespace."""

    def names(self, kind: str) -> Iterable[str]:
        """Return the names, without the namespace, that are there for `kind`."""

    def get(self, kind: str, name: str) -> Component:
        """Return the component; raise `UnknownNameError` for an unknown name."""


@dataclass(frozen=True)
class Entry:
    """One registered name: what it is, where it comes from, and how to get it."""

    kind: str
    name: str
    source: str
    origin: EntryPoint | Path | Component

    @property
    def config(self) -> Path | None:
        """The YAML file of a model that is a config."""
        return self.origin if isinstance(self.origin, Path) else None

    def load(self) -> Component:
        """Import and return the component; `PluginError` names the plugin that cannot be imported."""
        if isinstance(self.origin, EntryPoint):
            return _load(self.origin, self.source)
        if isinstance(self.origin, Path):
            raise TypeError(f"{self.name!r} is a config; read {self.origin}")
        return self.origin


_runtime: dict[tuple[str, str], Entry] = {}
_registering = threading.RLock()


@overload
def register(kind: str, name: str, component: C, *, replace: bool = False) -> C: ...
@overload
def register(kind: str, name: str, component: None = None, *, replace: bool = False) -> Callable[[C], C]: ...
def register(kind: str, name: str, component: C | None = None, *, replace: bool = False) -> C | Callable[[C], C]:
    """Register `component` as the `kind` called `name` for this process; without `component`, a decorator.

    Raises `PluginError` if the name is taken; `replace=True` replaces an earlier runtime registration, which is what
    running a notebook cell twice needs. What a distribution registered is never replaced.
    """
    _check_kind(kind)
    match = _REFERENCE.fullmatch(name)
    if match is None or match["source"]:
        raise PluginError(
            f"{name!r} cannot be a name: expected letters, digits and any of '_.+-', with '/' for namespaces"
        )

    def add(component: C) -> C:
        if not callable(component):
            raise PluginError(f"{kind} {name!r}: expected a class or function, got {type(component).__name__}")
        with _registering:
            taken = [entry.source for entry in entries(kind) if entry.name == name]
            if taken and not (replace and taken == [RUNTIME]):
                advice = "pass replace=True" if taken == [RUNTIME] else "choose another name"
                raise PluginError(f"{kind} {name!r} is already registered by {taken[0]}; {advice}")
            _runtime[kind, name] = Entry(kind, name, RUNTIME, component)
        return component

    return add if component is None else add(component)


def unregister(kind: str, name: str) -> None:
    """Take back what `register` added."""
    if _runtime.pop((kind, name), None) is None:
        raise UnknownNameError(f"no {kind} {name!r} was registered at run time")


def entries(kind: str) -> list[Entry]:
    """Every entry of `kind` outside the namespaces, by name, clashes included; imports nothing."""
    _check_kind(kind)
    added = [entry for entry in tuple(_runtime.values()) if entry.kind == kind]
    return sorted([*_installed(kind), *added], key=lambda entry: (entry.name, entry.source))


def find(kind: str, reference: str, *, component: bool = False, home: str = "") -> Entry:
    """Return the entry that `name`, `dist:name` or `namespace/name` refers to.

    A distribution may hold a model component and a config of the same name, which describes it; the name means the
    config, and with `component` the component. Of several distributions that hold a name, `home` comes first: the one
    in whose config the name is written.

    Raises `UnknownNameError` with the nearest spellings, or `PluginError` if several distributions hold the name.
    """
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        raise UnknownNameError(
            f"{reference!r} is not a name of a {kind}: expected 'name', 'distribution:name' or 'namespace/name'"
        )
    source, name = match["source"], match["name"]
    known = entries(kind)
    found = [entry for entry in known if entry.name == name and source in (None, entry.source)]
    if component:
        if found and all(entry.config for entry in found):
            raise UnknownNameError(f"{reference!r} is a config; to begin from it, write `extends: {reference}`")
        found = [entry for entry in found if entry.config is None]
    found = [entry for entry in found if entry.source == home] or found
    if not component and len({entry.source for entry in found}) == 1 and any(entry.config for entry in found):
        found = [entry for entry in found if entry.config]
    if len(found) > 1 and len({entry.source for entry in found}) == 1:
        places = " and ".join(str(getattr(entry.origin, "value", entry.origin)) for entry in found)
        raise PluginError(f"{kind} {name!r} is registered twice by {found[0].source}: {places}; rename one of them")
    if len(found) > 1:
        choices = " or ".join(f"'{entry.source}:{name}'" for entry in found)
        raise PluginError(
            f"{kind} {name!r} is registered by {' and by '.join(e.source for e in found)}; write {choices}"
        )
    if found:
        return found[0]
    namespace, _, inner = name.partition("/")
    if inner and (provider := _provider(namespace, source or home)):
        entry_point, distribution = provider
        if source in (None, distribution):
            try:
                served = _load_provider(entry_point, distribution)
                with _answering(f"provider {namespace!r} of {distribution}"):
                    provided = served.get(kind, inner)
                if not callable(provided):
                    raise PluginError(
                        f"provider {namespace!r} of {distribution} gave a {type(provided).__name__} for {name!r}; "
                        "expected a class or function"
                    )
            except UnknownNameError as error:
                more = "" if "did you mean" in str(error) else _suggestion(kind, name)
                raise UnknownNameError(f"{error}{more}") from error
            return Entry(kind, name, distribution, provided)
    raise UnknownNameError(f"unknown {kind} {reference!r}{_suggestion(kind, name)}")


def _suggestion(kind: str, name: str) -> str:
    """What to write instead of an unknown name: the same name elsewhere, or the nearest spellings anywhere."""
    namespace, _, inner = name.partition("/")
    bare = inner or name
    elsewhere = [f"{each}/{bare}" for each in namespaces() if each != namespace and bare in _provided(kind, each)]
    if elsewhere:
        return f"; did you mean {' or '.join(map(repr, elsewhere))}?"
    if kind == "model":
        backbone = bare.partition(".")[0]  # without the tag of its pretrained weights
        encoders = [f"{each}/{bare}" for each in namespaces() if backbone in _provided("encoder", each)]
        if bare in names("encoder"):
            encoders.insert(0, bare)
        if encoders:
            return f"; it is an encoder: did you mean create('unet', encoder={encoders[0]!r})?"
    close = nearest(name, [*names(kind), *_same_namespace(kind, namespace, inner)])
    return close or nearest(name, [f"{each}/{found}" for each in namespaces() for found in _provided(kind, each)])


def _provided(kind: str, namespace: str) -> list[str]:
    """Names of a namespace, for a suggestion: a provider that cannot be asked gives none."""
    try:
        provider = _provider(namespace)
        return _names_of(*provider, kind) if provider else []
    except PluginError:
        return []


def get(kind: str, reference: str) -> Component:
    """Return the component that `reference` names, importing its plugin if need be."""
    return find(kind, reference, component=True).load()


def names(kind: str, pattern: str = "*") -> list[str]:
    """Names of `kind` that match the shell pattern; clashing ones appear as `dist:name`.

    A namespace is listed only when the pattern begins with it (`timm/res*`): listing one imports its provider.
    """
    sources: dict[str, set[str]] = {}
    for entry in entries(kind):
        sources.setdefault(entry.name, set()).add(entry.source)
    listed = [
        name if len(holders) == 1 else f"{source}:{name}" for name, holders in sources.items() for source in holders
    ]
    namespace, _, inner = pattern.partition("/")
    return sorted({*fnmatch.filter(listed, pattern), *fnmatch.filter(_same_namespace(kind, namespace, inner), pattern)})


def namespaces() -> list[str]:
    """Namespaces that an installed distribution provides."""
    return sorted(entry_point.name for entry_point in _entry_points("unetzoo.providers"))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UnknownNameError(f"unknown kind {kind!r}: expected one of {', '.join(KINDS)}{nearest(kind, KINDS)}")


def _same_namespace(kind: str, namespace: str, inner: str) -> list[str]:
    provider = _provider(namespace) if inner else None
    return [f"{namespace}/{name}" for name in _names_of(*provider, kind)] if provider else []


def _names_of(entry_point: EntryPoint, source: str, kind: str) -> list[str]:
    provider = _load_provider(entry_point, source)
    with _answering(f"provider {entry_point.name!r} of {source}"):
        names = list(provider.names(kind))
    if not all(isinstance(name, str) for name in names):
        raise PluginError(f"provider {entry_point.name!r} of {source} lists names that are no text")
    return names


def _provider(namespace: str, preferred: str = "") -> tuple[EntryPoint, str] | None:
    found = [entry_point for entry_point in _entry_points("unetzoo.providers") if entry_point.name == namespace]
    found = [entry_point for entry_point in found if _source(entry_point) == preferred] or found
    if len(found) > 1:
        holders = [_source(entry_point) for entry_point in found]
        choices = " or ".join(f"'{holder}:{namespace}/...'" for holder in holders)
        raise PluginError(f"namespace {namespace!r} is provided by {' and by '.join(holders)}; write {choices}")
    return (found[0], _source(found[0])) if found else None


@cache
def _installed(kind: str) -> tuple[Entry, ...]:
    """Entries of the installed distributions; `refresh` reads them again."""
    components = [Entry(kind, ep.name, _source(ep), ep) for ep in _entry_points(KINDS[kind].group)]
    return (*components, *(_config_entries() if kind == "model" else ()))


def owner(file: str | Path) -> str:
    """The distribution among whose configs a file is; empty for any other file."""
    return next((source for folder, source in _config_folders() if Path(file).is_relative_to(folder)), "")


@cache
def _config_folders() -> tuple[tuple[Path, str], ...]:
    return tuple(
        (folder.resolve(), _source(entry_point))
        for entry_point in _entry_points("unetzoo.configs")
        for folder in _package_folders(entry_point.value)
    )


def refresh() -> None:
    """Forget what was read of the installed distributions, after one was installed or removed in this process."""
    _installed.cache_clear()
    _config_folders.cache_clear()
    _entry_points.cache_clear()


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    # A distribution that is found twice on the path (an editable install beside its wheel) counts once.
    unique = {(_source(entry_point), entry_point.name): entry_point for entry_point in entry_points(group=group)}
    return tuple(unique.values())


def _source(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "unknown distribution"


def _config_entries() -> Iterator[Entry]:
    for entry_point in _entry_points("unetzoo.configs"):
        for folder in _package_folders(entry_point.value):
            for path in sorted(folder.rglob("*.yaml")):
                yield Entry("model", path.stem, _source(entry_point), path)


def _package_folders(package: str) -> list[Path]:
    """Folders of `package`, found without running any of its code: only the top-level finder is asked."""
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    locations = spec.submodule_search_locations if spec is not None else None
    return [folder for place in locations or () if (folder := Path(place).joinpath(*inner)).is_dir()]


def _load_provider(entry_point: EntryPoint, source: str) -> Provider:
    made = _load(entry_point, source)
    with _answering(f"provider {entry_point.name!r} of {source}"):
        provider = made()
    if not isinstance(provider, Provider):
        raise PluginError(f"{entry_point.name!r} of {source} is no provider: it lacks names(kind) or get(kind, name)")
    return provider


def _load(entry_point: EntryPoint, source: str) -> Component:
    try:
        component = entry_point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script that ends by `sys.exit` must not end its host
        raise PluginError(
            f"{entry_point.name!r} of {source} cannot be imported from {entry_point.value!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not callable(component):
        raise PluginError(
            f"{entry_point.name!r} of {source} is a {type(component).__name__} in {entry_point.value!r}; expected a "
            "class or function"
        )
    return component


@contextmanager
def _answering(who: str) -> Iterator[None]:
    """Name the plugin that fails, whatever it raises, so that the others go on."""
    try:
        yield
    except (UnetzooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{who} fails: {type(error).__name__}: {error}") from error
