"""Prose in plain technical English: a term of art where one exists, the same term every time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROSE = [
    *sorted(path for path in (ROOT / "unetzoo").rglob("*") if path.suffix in (".py", ".yaml", ".template")),
    *sorted((ROOT / "zoo_configs").rglob("*.yaml")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
INSTEAD = {
    r"unless told|unless given": "default: ...",
    r"\blest\b": "so that ... not",
    r"\b(is|are|was|were|be) told\b|\bas told\b": "is listed, given or known",
    r"stands (twice|here)": "duplicate; is listed here",
    r"\btakes? off\b": "subtracts; margin; removes",
    r"\b(is|are) none\b(?! of)(?<!there is none)(?<!there are none)": "is not one",
    r"equals none": "approximate",
    r"\bha(s|ve) (not )?ended\b": "is (not) finished",
    r"how much coarser": "downsampling factor",
    r"share of a window": "overlap of neighboring windows, as a fraction",
    r"running average that": "EMA weights",
    r"what one run of the model sees": "tile size",
    r"asked by all processes": "collective: call on every process",
    r"again in the backward pass": "activation checkpointing",
    r"colour|normalis|initialis|neighbour|behaviour|\bcentred?\b|\blicence\b|\bgrey\b": "American spelling",
}
NAMES = re.compile(r"great grey owl|https?://\S+")


@pytest.mark.parametrize(("phrase", "instead"), INSTEAD.items())
def test_prose_is_plain(phrase: str, instead: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in PROSE
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(phrase, NAMES.sub("", line))
    ]
    assert not found, f"write instead: {instead}\n" + "\n".join(found)
