"""The project as a whole: style, types, docs, and the README's promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["mkdocs", "build", "--strict", "--quiet", "--site-dir"],
    ],
    ids=["lint", "format", "types", "docs"],
)
def test_the_project_is_clean(command: list[str], tmp_path: Path) -> None:
    arguments = [*command[1:], str(tmp_path / "site")] if command[-1] == "--site-dir" else command[1:]
    done = subprocess.run(
        [sys.executable, "-m", command[0], *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "unetzoo").rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_the_python_of_the_docs_runs() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    (source,) = re.findall(r"## A model of one class\n\n```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
