"""The table of checks in docs/conformance.md, from the docstrings of the checks.

python docs/conformance_table.py
"""

from __future__ import annotations

from pathlib import Path

from unetzoo.conformance import all_checks
from unetzoo.conformance.check import Check
from unetzoo.files import write_text

PAGE = Path(__file__).parent / "conformance.md"
HEAD = "| check | level | cost | device | what holds |\n|---|---|---|---|---|\n"


def row(check: Check) -> str:
    """One line of the table."""
    devices = {"both": "any", "cpu": "CPU", "cuda": "CUDA"}[check.devices]
    return (
        f"| `{check.id}` | {check.level} | {check.cost} | {devices} | {check.summary.replace('|', chr(92) + '|')} |\n"
    )


def table() -> str:
    """All checks, by subject."""
    checks = all_checks()
    subjects = sorted({check.subject for check in checks})
    parts = []
    for subject in subjects:
        rows = "".join(row(check) for check in checks if check.subject == subject)
        parts.append(f"### {subject.capitalize()}\n\n{HEAD}{rows}")
    return "\n".join(parts)


def main() -> None:
    """Write the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, text[: text.index("\n### ")] + "\n" + table())


if __name__ == "__main__":
    main()
