"""The result of a run: one record a check, and the same as a table, JSON, JUnit XML and HTML."""

from __future__ import annotations

import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from unetzoo.capabilities import Capabilities
from unetzoo.conformance.check import SUITE_VERSION, Level
from unetzoo.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

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
    ``message`` is the failure, ``reason`` why it was skipped (``not applicable: ...``, ``unavailable: ...``,
    ``blocked by check_x``, ``excluded``) or why the failure was expected. ``measured`` is held against ``bound``.
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


class ConformanceError(AssertionError):
    """Raised by ``check_model(..., on_failure='raise')``; carries the report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = [f"{r.check}: {r.note or 'passed, though its failure was expected'}" for r in report.failures]
        super().__init__(f"{report.model} fails {len(lines)} checks:\n" + "\n".join(lines))


@dataclass
class Report:
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
        """Whether nothing failed; skipped checks do not count as passed, see ``counts``."""
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

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=160, no_color=True)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def table(self) -> Table:
        """A rich table, one row a check."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.model} on {self.device}: {self.headline} ({self.seconds:.1f} s)")
        for column in ("check", "status", "seconds", "measured", "bound", "note"):
            table.add_column(column, justify="right" if column in ("seconds", "measured", "bound") else "left")
        for r in self.results:
            figures = ["" if v is None else f"{v:.3g}" for v in (r.measured, r.bound)]
            table.add_row(r.check, Text(r.status, STYLES[r.status]), f"{r.seconds:.2f}", *figures, Text(r.note))
        return table

    def to_dict(self) -> dict[str, object]:
        """Everything as plain data, with the environment it was measured in."""
        import torch

        data = asdict(self)
        data["capabilities"] = {
            k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self.capabilities).items()
        }
        environment = {"python": platform.python_version(), "torch": torch.__version__, "system": platform.platform()}
        if self.device.startswith("cuda") and torch.cuda.is_available():
            environment["gpu"] = torch.cuda.get_device_name(self.device)
        return {**data, "ok": self.ok, "counts": self.counts, "environment": environment}

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON text; written to ``path`` if given. A figure that is not finite becomes a string."""
        text = json.dumps(_finite(self.to_dict()), indent=2, allow_nan=False)
        return _written(text, path)

    def to_junit(self, path: str | Path | None = None) -> str:
        """The report as JUnit XML, which every CI service shows; written to ``path`` if given."""
        from unetzoo.conformance.rendering import junit

        return _written(junit([self]), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained HTML page; written to ``path`` if given."""
        from unetzoo.conformance.rendering import html_page

        return _written(html_page([self]), path)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        write_text(Path(path), text)
    return text
