"""What a run needs: the network, the chosen checks and the options, validated; small enough for another process."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch

from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.checks import all_checks
from unetzoo.conformance.definition.check import PROFILES, Profile
from unetzoo.conformance.measuring.probing import default_size, probe
from unetzoo.conformance.measuring.sandbox import sandbox
from unetzoo.conformance.reports.results import Result
from unetzoo.conformance.runner.subject import ModelLike, Subject, resolve
from unetzoo.errors import ConfigError
from unetzoo.nn.devices import present


@dataclass(frozen=True)
class Session:
    """Everything that a run needs, small enough to be sent to another process."""

    subject: Subject
    device: str
    checks: tuple[str, ...]
    excluded: frozenset[str]
    expected_failures: Mapping[str, str]
    in_channels: int
    num_classes: int
    seed: int
    capabilities: Capabilities | None = None
    size: Axes | None = None
    failed: frozenset[str] = field(default=frozenset())
    """Checks that have failed so far, which block those that require them."""

    def probed(self) -> Session:
        """The session with its capabilities and size settled."""
        if self.capabilities is not None and self.size is not None:
            return self
        with sandbox(self.seed), quiet():
            capabilities = self.capabilities or probe(
                self.subject.builder, self.in_channels, self.num_classes, self.subject.capabilities, self.seed
            )
        return replace(self, capabilities=capabilities, size=self.size or default_size(capabilities))

    def after(self, result: Result) -> Session:
        """The session once this result is known."""
        failed = result.status in ("failed", "expected_failure")
        return replace(self, failed=self.failed | {result.check}) if failed else self


def make_session(
    model: ModelLike,
    *,
    profile: Profile = "full",
    device: str | None = None,
    checks: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    ndim: int | None = None,
    in_channels: int = 3,
    num_classes: int = 2,
    options: Mapping[str, object] | None = None,
    size: int | Axes | None = None,
    capabilities: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Session:
    """The session of these options, validated; arguments as of `check_model`."""
    if profile not in PROFILES:
        raise ConfigError(f"unknown profile {profile!r}; expected one of {', '.join(PROFILES)}")
    device = device or ("cuda" if profile == "cuda" else "cpu")
    known = [c.id for c in all_checks()]
    selected = [c.id for c in all_checks() if profile in c.profiles]
    if checks is not None:
        selected = _matching(checks, known)
    expected = dict(expected_failures or {})
    _matching(expected, known)
    declared = {**(capabilities or {}), **({} if ndim is None else {"ndim": ndim})}
    for name, number in (("in_channels", in_channels), ("num_classes", num_classes)):
        if not isinstance(number, int) or number < 1:
            raise ConfigError(f"{name} is {number!r}; expected a whole number from 1")
    subject = resolve(model, declared, options)
    if options:
        _try_options(subject, in_channels, num_classes, sorted(options))
    axes = int(str(subject.capabilities.get("ndim", 2)))
    return Session(
        subject=subject,
        device=str(present(device)),
        checks=tuple(selected),
        excluded=frozenset(_matching(exclude or (), known)),
        expected_failures=expected,
        in_channels=in_channels,
        num_classes=num_classes,
        seed=seed,
        size=(size,) * axes if isinstance(size, int) else size,
    )


def _try_options(subject: Subject, in_channels: int, num_classes: int, names: list[str]) -> None:
    """Raise UnetzooError if the builder refuses its options; whatever else it raises is for the checks to report."""
    with sandbox(0), quiet(), contextlib.suppress(RuntimeError, NotImplementedError, AssertionError):
        try:
            with torch.device("meta"):
                subject.builder(in_channels=in_channels, num_classes=num_classes)
        except TypeError as error:
            raise ConfigError(f"{subject.name} cannot be built with {', '.join(names)}: {error}") from error


def _matching(patterns: Iterable[str], known: list[str]) -> list[str]:
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            near = get_close_matches(pattern, known, n=3, cutoff=0.4)
            raise ConfigError(f"unknown check {pattern!r}; nearest: {', '.join(near) or 'none'}")
        chosen.update(found)
    return [name for name in known if name in chosen]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow warnings and prints of the network; check_silent looks at them on its own."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
