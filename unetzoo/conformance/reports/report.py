"""The report on one network: its results, and the same as a table, JSON, JUnit XML and HTML."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetzoo.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

from unetzoo.conformance.reports.rendering import html_page, junit
from unetzoo.conformance.reports.results import STYLES, Results


@dataclass
class Report(Results):
    """All results of one network on one device, and their renderings."""

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
        """The report as JSON text; written to `path` if given. A figure that is not finite becomes a string."""
        text = json.dumps(_finite(self.to_dict()), indent=2, allow_nan=False)
        return _written(text, path)

    def to_junit(self, path: str | Path | None = None) -> str:
        """The report as JUnit XML, which every CI service shows; written to `path` if given."""
        return _written(junit([self]), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained HTML page; written to `path` if given."""
        return _written(html_page([self]), path)


class ConformanceError(AssertionError):
    """Raised by `check_model(..., on_failure='raise')`; carries the report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = [f"{r.check}: {r.note or 'passed, though its failure was expected'}" for r in report.failures]
        super().__init__(f"{report.model} fails {len(lines)} checks:\n" + "\n".join(lines))


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
