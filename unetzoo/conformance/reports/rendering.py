"""Reports for other programs and for people: JUnit XML and one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from xml.etree import ElementTree

from unetzoo.conformance.reports.results import Result, Results

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2024; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #dde1e6; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.note { overflow-wrap: anywhere; }
.status { font-weight: 600; white-space: nowrap; }
.passed { color: #18794e; } .failed, .unexpected_pass { color: #c62a2f; } .skipped { color: #7e868c; }
.expected_failure { color: #ad5700; } .advice { color: #0b68cb; }
code { font-size: .92em; } small { color: #60646c; }
"""
SHOWN_AS_SKIPPED = ("skipped", "expected_failure", "advice")
"""Statuses that JUnit, which has no word for them, shows as skipped."""
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: Sequence[Results]) -> str:
    """JUnit XML: one suite a network, one case a check. Expected failures and advice are skipped there."""
    root = ElementTree.Element("testsuites")
    for report in reports:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_clean(f"{report.model} on {report.device}"),
            tests=str(len(report.results)),
            failures=str(len(report.failures)),
            errors="0",
            skipped=str(sum(r.status in SHOWN_AS_SKIPPED for r in report.results)),
            time=f"{report.seconds:.3f}",
        )
        for result in report.results:
            _case(suite, report, result)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _case(suite: ElementTree.Element, report: Results, result: Result) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_clean(f"{report.model}.{result.subject}"),
        name=result.check,
        time=f"{result.seconds:.3f}",
    )
    if result.status in ("failed", "unexpected_pass"):
        failure = ElementTree.SubElement(case, "failure", message=_clean(result.note), type=result.status)
        failure.text = _clean(f"{result.summary}\n{result.note}")
    elif result.status in SHOWN_AS_SKIPPED:
        note = f"advice: {result.note}" if result.status == "advice" else result.note
        ElementTree.SubElement(case, "skipped", message=_clean(note))


def _clean(text: str) -> str:
    return NOT_XML.sub("?", text)


def html_page(reports: Sequence[Results]) -> str:
    """One page without scripts or outside resources: a section and a table for each network."""
    sections = "\n".join(_section(report) for report in reports)
    title = escape(", ".join(report.model for report in reports[:3]) + (" ..." if len(reports) > 3 else ""))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Conformance: {title}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>Conformance</h1>\n{sections}\n</body></html>\n"
    )


def _section(report: Results) -> str:
    declared = report.capabilities.declared
    capabilities = ", ".join(
        f"<code>{escape(name)}={escape(str(value))}</code>{'' if name in declared else ' <small>(probed)</small>'}"
        for name, value in report.capability_values().items()
    )
    rows = "\n".join(_row(result) for result in report.results)
    return (
        f"<h2>{escape(report.model)} on {escape(report.device)}</h2>\n"
        f"<p>{escape(report.headline)} in {report.seconds:.1f} s, input size {list(report.size)}, "
        f"suite {escape(report.suite_version)}.</p>\n<p>{capabilities}</p>\n"
        "<table><thead><tr><th>check</th><th>status</th><th>seconds</th><th>measured</th><th>bound</th><th>note</th></tr>"
        f"</thead><tbody>\n{rows}\n</tbody></table>"
    )


def _row(r: Result) -> str:
    figures = "".join(
        f'<td class="number">{"" if value is None else format(value, spec)}</td>'
        for value, spec in ((r.seconds, ".2f"), (r.measured, ".3g"), (r.bound, ".3g"))
    )
    return (
        f"<tr><td><code>{escape(r.check)}</code><br><small>{escape(r.summary)}</small></td>"
        f'<td class="status {r.status}">{r.status.replace("_", " ")}</td>{figures}'
        f'<td class="note">{escape(r.note)}</td></tr>'
    )
