"""`unetzoo check`: hold networks to the contract, each in separate processes, with a live table of progress."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from unetzoo.cli.options import Overrides, parse_overrides
from unetzoo.files import check_target, write_text

if TYPE_CHECKING:
    from unetzoo.conformance.reports.report import Report
    from unetzoo.conformance.reports.results import Result

Target = tuple[str, int | None]


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models (name, dist:name, config file) or builders (package.module:builder, file.py:builder)."
        ),
    ] = None,
    all_models: Annotated[bool, typer.Option("--all", help="Every registered model, in 2-D and 3-D.")] = False,
    profile: Annotated[str, typer.Option(help="core (the contract, in seconds), full or cuda.")] = "full",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1 (default: cpu; cuda for that profile).")
    ] = None,
    ndim: Annotated[int | None, typer.Option(help="Spatial axes, where a model offers both.")] = None,
    option: Overrides = None,
    only: Annotated[
        list[str] | None, typer.Option("--check", help="Id or pattern of checks to run; repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Id or pattern of checks to leave out; repeatable.")] = None,
    expected_failures: Annotated[
        Path | None, typer.Option(help='JSON file {"NAME": {"check_id": "reason"}}; one that passes fails.')
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Networks checked at a time.")] = 1,
    memory_limit: Annotated[float, typer.Option(help="GiB that one network's process may take.")] = 16.0,
    html: Annotated[Path | None, typer.Option(help="Write an HTML page.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results as JSON.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
) -> None:
    """Hold networks to the contract. A check that hangs or crashes is reported, and the others still run."""
    from unetzoo.conformance.runner.expected import read_expected_failures
    from unetzoo.conformance.runner.session import make_session
    from unetzoo.conformance.runner.suite import check_model

    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # modules of the working folder, as with `python -m`
    targets = _targets(names or [], all_models, ndim)
    expected = read_expected_failures(expected_failures, list(dict.fromkeys(name for name, _ in targets)))
    for file in (html, json_file, junit):
        if file is not None:
            check_target(file)
    overrides = parse_overrides(option or [])
    common: dict[str, Any] = {k: overrides.pop(k) for k in ("in_channels", "num_classes") if k in overrides}
    common |= {"profile": profile, "device": device, "checks": only, "exclude": exclude, "options": overrides}
    for name, dimensions in targets:  # wrong names and options are reported before hours are spent on the others
        make_session(name, ndim=dimensions, expected_failures=expected.get(name), **common)
    board = Board({_label(target): CheckProgress() for target in targets})

    def examine(target: Target) -> Report:
        name, dimensions = target
        return check_model(
            name,
            ndim=dimensions,
            expected_failures=expected.get(name),
            isolate=True,
            memory_limit=memory_limit,
            progress=lambda _, result: board.note(_label(target), result),
            **common,
        )

    console = Console(emoji=False)
    reports: list[Report] = []
    with Live(get_renderable=board.table, console=console, refresh_per_second=4), ThreadPoolExecutor(jobs) as pool:
        for report in pool.map(examine, targets):
            reports.append(report)
            _write(reports, html=html, json_file=json_file, junit=junit)
            if not console.is_terminal:  # where the live table is not seen before its end
                console.print(f"{report.model}: {report.headline}", markup=False, highlight=False)
    for report in reports:
        for result in report.failures + report.advice:
            advice = " (advice)" if result.status == "advice" else ""
            console.print(f"[bold]{report.model}[/bold] {result.check}{advice}", highlight=False)
            console.print(f"    {result.note}", markup=False, highlight=False)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _write(reports: Sequence[Report], *, html: Path | None, json_file: Path | None, junit: Path | None) -> None:
    """Write the files asked for; after every network, so that a long run that is broken off leaves what it found."""
    from unetzoo.conformance.reports.rendering import html_page
    from unetzoo.conformance.reports.rendering import junit as junit_xml

    if html is not None:
        write_text(html, html_page(reports))
    if json_file is not None:
        write_text(json_file, json.dumps([json.loads(report.to_json()) for report in reports], indent=2))
    if junit is not None:
        write_text(junit, junit_xml(reports))


def _targets(names: list[str], all_models: bool, ndim: int | None) -> list[Target]:
    if bool(names) == all_models:
        raise typer.BadParameter("give names, or --all for every registered model")
    if names:
        return [(name, ndim) for name in dict.fromkeys(names)]
    from unetzoo.catalog import info, list_models

    return [(n, d) for n in list_models() for d in info(n).ndim if ndim in (None, d)]


def _label(target: Target) -> str:
    name, ndim = target
    return name if ndim is None else f"{name} ({ndim}-D)"


@dataclass
class CheckProgress:
    """How far one network has come."""

    counts: Counter[str] = field(default_factory=Counter)
    last: str = "waiting"
    seconds: float = 0.0


@dataclass
class Board:
    """The live table: one row a network."""

    rows: Mapping[str, CheckProgress]

    def note(self, label: str, result: Result) -> None:
        """Count one result."""
        row = self.rows[label]
        row.counts[result.status] += 1
        row.last = result.check
        row.seconds += result.seconds

    def table(self) -> Table:
        """The table as it stands."""
        table = Table("network", "passed", "failed", "advice", "expected", "skipped", "seconds", "last check")
        for label, row in self.rows.items():
            failed = row.counts["failed"] + row.counts["unexpected_pass"]
            others = (row.counts[status] for status in ("advice", "expected_failure", "skipped"))
            cells = (row.counts["passed"], failed, *others)
            color = "red" if failed else "green" if row.counts["passed"] else "dim"
            table.add_row(f"[{color}]{label}[/{color}]", *map(str, cells), f"{row.seconds:.1f}", row.last)
        return table
