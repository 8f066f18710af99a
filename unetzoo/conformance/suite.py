"""Runs the checks on one network: resolves what was given, probes its capabilities, and turns outcomes into results."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.check import PROFILES, Check, CheckFailed, NotApplicable, Profile, Unavailable, all_checks
from unetzoo.conformance.context import Context
from unetzoo.conformance.failure import describe
from unetzoo.conformance.probing import default_size, probe
from unetzoo.conformance.report import ConformanceError, Report, Result, Status
from unetzoo.conformance.sandbox import sandbox, set_tf32
from unetzoo.conformance.subject import ModelLike, Subject, resolve
from unetzoo.errors import ConfigError

Progress: TypeAlias = Callable[[str, Result], None]


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


def check_model(
    model: ModelLike,
    *,
    profile: Profile = "full",
    device: str | None = None,
    checks: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    on_failure: Literal["report", "raise"] = "report",
    ndim: int | None = None,
    in_channels: int = 3,
    num_classes: int = 2,
    options: Mapping[str, object] | None = None,
    size: int | Axes | None = None,
    capabilities: Mapping[str, object] | None = None,
    seed: int = 0,
    isolate: bool = False,
    memory_limit: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Hold a network to the contract, check by check, and report what was found.

    Args:
        model: a registered name, a path or mapping of a config, `"package.module:builder"`, `"file.py:builder"`, or a
            builder `f(in_channels, num_classes, **options) -> nn.Module` that unetzoo need know nothing about.
        profile: `"core"`, the contract in seconds; `"full"`, everything; `"cuda"`, what depends on the device.
        device: default `"cpu"`, or `"cuda"` for that profile. On CUDA, `"full"` runs the device-dependent checks there
            and adds those that need it.
        checks, exclude: ids or shell patterns of checks to run and to leave out; default: all of the profile, none.
        expected_failures: reason by check id. Strict: one that passes is an ``unexpected_pass`` and counts as failure.
        on_failure: ``"raise"`` raises ConformanceError, with the whole report, after all checks have run.
        ndim, size: number of spatial axes, and the input size for most checks; probed and chosen when not given.
        in_channels, num_classes: what the network is built with unless a check varies them.
        options: further keyword arguments of the builder, or options of `create`.
        capabilities: declared values of :class:`Capabilities` by name; the rest is probed.
        seed: of all weights and inputs.
        isolate: run in a process of its own, so that a check that hangs, crashes the interpreter or exhausts
            ``memory_limit`` (GiB) is reported and the others still run. The builder must be importable.
        progress: called with the network's name and each result as it comes.

    Raises:
        ConfigError: an unknown check id, or a device that is not there. ValueError: an unknown capability.
        UnknownNameError: an unknown model.
    """
    session = make_session(
        model,
        profile=profile,
        device=device,
        checks=checks,
        exclude=exclude,
        expected_failures=expected_failures,
        ndim=ndim,
        in_channels=in_channels,
        num_classes=num_classes,
        options=options,
        size=size,
        capabilities=capabilities,
        seed=seed,
    )
    start = time.perf_counter()
    report = Report(session.subject.name, session.device, session.capabilities or Capabilities(), session.size or ())
    if isolate:
        from unetzoo.conformance.isolation import run_isolated

        stream: Iterator[Capabilities | Result] = run_isolated(session, memory_limit)
    else:
        stream = run(session)
    for item in stream:
        if isinstance(item, Capabilities):
            report.capabilities, report.size = item, session.size or default_size(item)
        else:
            report.results.append(item)
            if progress is not None:
                progress(report.model, item)
    report.seconds = time.perf_counter() - start
    if on_failure == "raise" and not report.ok:
        raise ConformanceError(report)
    return report


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
    """The session of these options, validated; arguments as of :func:`check_model`."""
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
        device=_present(device),
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


def _present(device: str) -> str:
    """The device's name, if torch knows it and, where it is a CUDA device, sees it."""
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; expected cpu, cuda or cuda:1") from error
    there = torch.cuda.device_count()
    if wanted.type == "cuda" and (wanted.index or 0) >= there:
        raise ConfigError(f"device {device!r} is not there: torch {torch.__version__} sees {there} CUDA devices")
    return str(wanted)


def _matching(patterns: Iterable[str], known: list[str]) -> list[str]:
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            near = get_close_matches(pattern, known, n=3, cutoff=0.4)
            raise ConfigError(f"unknown check {pattern!r}; nearest: {', '.join(near) or 'none'}")
        chosen.update(found)
    return [name for name in known if name in chosen]


def run(session: Session) -> Iterator[Capabilities | Result]:
    """Probe, yield the capabilities, then the result of each check; a failed gate blocks the checks that require it."""
    session = session.probed()
    assert session.capabilities is not None
    yield session.capabilities
    registered = {c.id: c for c in all_checks()}
    for check_id in session.checks:
        result = run_check(session, registered[check_id])
        session = session.after(result)
        yield result


def run_check(session: Session, check: Check) -> Result:
    """The result of one check."""
    blocking = [gate for gate in check.requires if gate in session.failed]
    if check.id in session.excluded:
        return outcome(check, "skipped", reason="excluded by the caller")
    if blocking:
        return outcome(check, "skipped", reason=f"blocked by {blocking[0]}")
    if check.devices == "cuda" and not session.device.startswith("cuda"):
        return outcome(check, "skipped", reason="unavailable: needs device='cuda'")
    return judged(session, check, _execute(session, check))


def judged(session: Session, check: Check, result: Result) -> Result:
    """The result with the expected failures and the level of the check taken into account."""
    expected = session.expected_failures.get(check.id)
    if expected is not None and result.status == "failed":
        return replace(result, status="expected_failure", reason=expected)
    if expected is not None and result.status == "passed":
        message = "passed, though its failure was expected: remove the expectation"
        return replace(result, status="unexpected_pass", message=message, reason=expected)
    if result.status == "failed" and check.level == "advice":
        return replace(result, status="advice")
    return result


def _execute(session: Session, check: Check) -> Result:
    start = time.perf_counter()
    measured: float | None = None
    bound: float | None = None
    status: Status = "passed"
    message = reason = ""
    with tempfile.TemporaryDirectory(prefix="unetzoo-") as folder, sandbox(session.seed), quiet():
        try:
            context = _context(session, check, Path(folder))
            if context.device.type == "cuda":
                set_tf32(False)  # its rounding would hide in float32 what is compared
            measurement = check.function(context)
            if measurement is not None:
                measured, bound = measurement.measured, measurement.bound
        except CheckFailed as failure:
            status, message, measured, bound = "failed", str(failure), failure.measured, failure.bound
        except NotApplicable as why:
            status, reason = "skipped", f"not applicable: {why}"
        except Unavailable as why:
            status, reason = "skipped", f"unavailable: {why}"
        except Exception as error:  # anything a network raises is its failure, told with the place it came from
            status, message = "failed", describe(error)
    seconds = time.perf_counter() - start
    return outcome(check, status, message=message, reason=reason, seconds=seconds, measured=measured, bound=bound)


def _context(session: Session, check: Check, folder: Path) -> Context:
    assert session.capabilities is not None
    assert session.size is not None
    asked = "cpu" if check.devices == "cpu" else session.device
    return Context(
        name=session.subject.name,
        builder=session.subject.builder,
        capabilities=session.capabilities,
        in_channels=session.in_channels,
        num_classes=session.num_classes,
        size=session.size,
        device=torch.empty(0, device=asked).device,  # "cuda" by its full name, as tensors have it
        seed=session.seed,
        tmp_path=folder,
    )


def outcome(
    check: Check,
    status: Status,
    *,
    message: str = "",
    reason: str = "",
    seconds: float = 0.0,
    measured: float | None = None,
    bound: float | None = None,
) -> Result:
    """A result of this check."""
    return Result(
        check.id, status, check.level, check.subject, check.summary, seconds, message, reason, measured, bound
    )


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
