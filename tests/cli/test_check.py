"""`unetzoo check`: its exit code and the reports it writes, with one network sound and one that crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

NETS = """
import os, torch
from torch import nn

class Sound(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Conv2d(in_channels, num_classes, 3, padding=1))

class Aborts(Sound):
    def forward(self, x):
        return os.abort() if x.dtype == torch.bfloat16 else super().forward(x)
"""


def test_a_crash_of_one_network_is_in_every_report_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "two_nets.py").write_text(NETS)
    chosen = ["--check", "check_output_dtype", "--check", "check_output_shape", "--check", "check_forward_runs"]
    files = ["--html", "out.html", "--json", "out.json", "--junit", "out.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "unetzoo", "check", "two_nets:Sound", "two_nets:Aborts", "--jobs", "2", *chosen, *files],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "SIGABRT" in done.stdout
    assert "two_nets:Sound: 3 passed" in done.stdout
    reports = json.loads((tmp_path / "out.json").read_text())
    statuses = {r["model"]: {c["check"]: c["status"] for c in r["results"]} for r in reports}
    assert set(statuses["two_nets:Sound"].values()) == {"passed"}
    assert statuses["two_nets:Aborts"]["check_output_dtype"] == "failed"
    assert statuses["two_nets:Aborts"]["check_output_shape"] == "passed"
    page = (tmp_path / "out.html").read_text()
    assert "SIGABRT" in page
    assert "http" not in page
    suites = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert sorted(suite.get("failures") for suite in suites) == ["0", "1"]


def test_a_builder_that_is_not_there_is_refused_before_any_network_is_checked(tmp_path: Path) -> None:
    (tmp_path / "two_nets.py").write_text(NETS)
    done = subprocess.run(
        [sys.executable, "-m", "unetzoo", "check", "two_nets:Sound", "two_nets:Missing", "--json", "out.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'two_nets:Missing' cannot be imported" in done.stderr
    assert not (tmp_path / "out.json").exists()
