"""What the pages show passes the suite."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from unetzoo import registry
from unetzoo.conformance import check_model

DOCS = Path(__file__).parents[2] / "docs"


def test_the_model_of_one_class_on_the_page_of_plugins_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_runtime", {})
    blocks = re.findall(r"(?s)```python\n(.*?)```", (DOCS / "plugins.md").read_text(encoding="utf-8"))
    (code,) = (block for block in blocks if "class Pixelwise" in block)
    (tmp_path / "code_of_the_page.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("code_of_the_page")
    report = check_model("pixelwise")
    assert report.failures + report.advice == [], report
