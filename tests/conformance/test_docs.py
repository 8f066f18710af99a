"""The page on the suite says what the suite does."""

from __future__ import annotations

import re
from pathlib import Path

from unetzoo.conformance import all_checks

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_page_lists_every_check_with_the_first_line_of_its_docstring() -> None:
    listed = dict(re.findall(r"(?m)^\| `(check_\w+)` \|.*\| (.*) \|$", PAGE.read_text(encoding="utf-8")))
    assert listed == {check.id: check.summary.replace("|", r"\|") for check in all_checks()}
