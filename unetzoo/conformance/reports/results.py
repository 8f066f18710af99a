"""The results of a run: one record a check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeAlias

from unetzoo.capabilities import Capabilities
from unetzoo.conformance.definition.check import SUITE_VERSION, Level

if TYPE_CHECKING:
    pass

Status: TypeAlias = Literal["passed", "failed", "advice", "skipped", "expected_failure", "unexpected_pass"]
STYLES: dict[Status, str] = {
    "passed": "green",
    "failed": "bold red",
    "advice": "cyan",
    "skipped": "dim",
    "expected_failure": "yellow",
    "unexpected_pass": "bold magenta",
}


@dataclass(frozen=True)
class Result:
    """What one check found on one network.

    A failed check of level `advice` has the status `advice`, which does not fail the report.
    `message` is the failure, `reason` why it was skipped (`not applicable: ...`, `unavailable: ...`,
    `blocked by check_x`, `excluded`) or why the failure was expected. `measured` is held against `bound`.
    """

    check: str
    status: Status
    level: Level
    subject: str
    summary: str
    seconds: float = 0.0
    message: str = ""
    reason: str = ""
    measured: float | None = None
    bound: float | None = None

    @property
    def note(self) -> str:
        """The message or reason, whichever there is."""
        return "; ".join(text for text in (self.message, self.reason) if text)


@dataclass
class Results:
    """All results of one network on one device."""

    model: str
    device: str
    capabilities: Capabilities
    size: tuple[int, ...]
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    suite_version: str = SUITE_VERSION

    @property
    def failures(self) -> list[Result]:
        """Failed checks, and expected failures that passed; not what is merely advice."""
        return [r for r in self.results if r.status in ("failed", "unexpected_pass")]

    @property
    def advice(self) -> list[Result]:
        """Failed checks of level `advice`."""
        return [r for r in self.results if r.status == "advice"]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; skipped checks do not count as passed, see `counts`."""
        return not self.failures

    @property
    def counts(self) -> dict[str, int]:
        """Number of results by status; skipped ones are split by the kind of reason."""
        keys = (
            r.reason.partition(":")[0].partition(" by ")[0] if r.status == "skipped" else r.status for r in self.results
        )
        return dict(Counter(keys))

    @property
    def headline(self) -> str:
        """One line: '87 passed, 2 advice, 12 not applicable, 6 unavailable'."""
        return ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in self.counts.items())

    def capability_values(self) -> dict[str, object]:
        """The capabilities that were declared, or that probing found to differ from the defaults."""
        plain = Capabilities().of_ndim(self.capabilities.ndim)
        names = [f.name for f in fields(Capabilities) if f.name != "declared"]
        values = {name: getattr(self.capabilities, name) for name in names}
        shown = {n: v for n, v in values.items() if n in self.capabilities.declared or v != getattr(plain, n)}
        return {
            n: sorted(v) if isinstance(v, frozenset) else v
            for n, v in {"ndim": self.capabilities.ndim, **shown}.items()
        }

    def __getitem__(self, check_id: str) -> Result:
        """The result of one check. Raises KeyError if it was not run."""
        for result in self.results:
            if result.check == check_id:
                return result
        raise KeyError(f"no result of {check_id!r} in this report")
