"""Runs the checks of a session one by one and turns outcomes into results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from unetzoo.capabilities import Capabilities
from unetzoo.conformance.checks import all_checks
from unetzoo.conformance.definition.check import Check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, NotApplicable, Unavailable
from unetzoo.conformance.measuring.failure import describe
from unetzoo.conformance.measuring.sandbox import sandbox, set_tf32
from unetzoo.conformance.reports.results import Result, Status
from unetzoo.conformance.runner.session import Session, quiet


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
        except Exception as error:  # anything a network raises is its failure, reported with the place it came from
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
