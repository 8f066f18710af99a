"""Comparing values of one key of a recipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_changes_that_come_to_one_recipe_are_refused(tmp_path: Path) -> None:
    recipe = ROOT / "examples" / "recipes" / "nuclei_unet.yaml"
    same = ["loss={dice: 1}", "loss={cross_entropy: 1}"]  # each is merged into the recipe's two losses
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), str(recipe), "--vary", *same]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "loss={cross_entropy: 1} comes to the same recipe as a change before it" in done.stderr
    assert list(tmp_path.iterdir()) == []
