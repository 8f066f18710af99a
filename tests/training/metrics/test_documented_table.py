from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def table() -> str:
    return runpy.run_path(str(DOCS / "metrics_table.py"))["table"]()


def test_the_table_in_the_docs_is_what_the_script_computes(table):
    assert table in (DOCS / "metrics.md").read_text()


def test_outputs_that_never_occur_raise_the_smoothed_score_and_not_the_honest_one(table):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    three, many = rows[0], rows[2]
    assert (three[0], three[1], many[1]) == (many[0], "3", "22")
    assert float(many[2]) > 0.85 > 0.35 > float(three[2])
    assert many[3] == three[3]
