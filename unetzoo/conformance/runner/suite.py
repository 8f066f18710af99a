"""`check_model`: the whole suite on one network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.definition.check import Profile
from unetzoo.conformance.measuring.probing import default_size
from unetzoo.conformance.reports.report import ConformanceError, Report
from unetzoo.conformance.reports.results import Result
from unetzoo.conformance.runner.execution import run
from unetzoo.conformance.runner.isolation import run_isolated
from unetzoo.conformance.runner.session import make_session
from unetzoo.conformance.runner.subject import ModelLike

ResultCallback: TypeAlias = Callable[[str, Result], None]


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
    progress: ResultCallback | None = None,
) -> Report:
    """Hold a network to the contract, check by check, and report what was found.

    Args:
        model: a registered name, a path or mapping of a config, `"package.module:builder"`, `"file.py:builder"`, or a
            builder `f(in_channels, num_classes, **options) -> nn.Module` that unetzoo need know nothing about.
        profile: `"core"`, the contract in seconds; `"full"`, everything; `"cuda"`, what depends on the device.
        device: default `"cpu"`, or `"cuda"` for that profile. On CUDA, `"full"` runs the device-dependent checks there
            and adds those that need it.
        checks, exclude: ids or shell patterns of checks to run and to leave out; default: all of the profile, none.
        expected_failures: reason by check id. Strict: one that passes is an `unexpected_pass` and counts as failure.
        on_failure: `"raise"` raises ConformanceError, with the whole report, after all checks have run.
        ndim, size: number of spatial axes, and the input size for most checks; probed and chosen when not given.
        in_channels, num_classes: what the network is built with unless a check varies them.
        options: further keyword arguments of the builder, or options of `create`.
        capabilities: declared values of `Capabilities` by name; the rest is probed.
        seed: of all weights and inputs.
        isolate: run in a process of its own, so that a check that hangs, crashes the interpreter or exhausts
            `memory_limit` (GiB) is reported and the others still run. The builder must be importable.
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
