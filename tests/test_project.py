"""The project as a whole: length of files, the code in its pages, and what continuous integration runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "unetzoo").rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_the_python_of_the_docs_runs() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    (source,) = re.findall(r"## A model of one class\n\n```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_test_command_of_the_readme_lints_types_builds_the_docs_and_runs_the_tests() -> None:
    command = (ROOT / "README.md").read_text().partition("<!-- test command -->")[2].split("```")[1]
    for step in ("ruff check .", "ruff format --check .", "mypy", "mkdocs build --strict", "python -m pytest"):
        assert f"\n{step}" in command, step
