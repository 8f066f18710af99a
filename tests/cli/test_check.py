"""`unetzoo check`: its exit code and the reports it writes, with one network sound and one that crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

NETS = """
import os, torch
from torch import nn

class Sound(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Conv2d(in_channels, num_classes, 3, padding=1))

class Wide(nn.Sequential):
    def __init__(self, in_channels, num_classes, *, width):
        super().__init__(nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, num_classes, 1))

class Aborts(Sound):
    def forward(self, x):
        return os.abort() if x.dtype == torch.bfloat16 else super().forward(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the module `two_nets`, which nothing has on its path."""
    (tmp_path / "two_nets.py").write_text(NETS)
    return tmp_path


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `unetzoo check` in the folder, as the console script does: without the folder on the path."""
    code = "import sys; sys.path = [p for p in sys.path if p]; from unetzoo.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "check", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_crash_of_one_network_is_in_every_report_and_the_others_are_checked(folder: Path) -> None:
    chosen = ["--check", "check_output_dtype", "--check", "check_output_shape", "--check", "check_forward_runs"]
    files = ["--html", "out.html", "--json", "out.json", "--junit", "out.xml"]
    done = check(folder, "two_nets:Sound", "two_nets:Aborts", "--jobs", "2", *chosen, *files)
    assert done.returncode == 1, done.stderr
    assert "SIGABRT" in done.stdout
    assert "two_nets:Sound: 3 passed" in done.stdout
    reports = json.loads((folder / "out.json").read_text())
    statuses = {r["model"]: {c["check"]: c["status"] for c in r["results"]} for r in reports}
    assert set(statuses["two_nets:Sound"].values()) == {"passed"}
    assert statuses["two_nets:Aborts"]["check_output_dtype"] == "failed"
    assert statuses["two_nets:Aborts"]["check_output_shape"] == "passed"
    page = (folder / "out.html").read_text()
    assert "SIGABRT" in page
    assert "http" not in page
    suites = ElementTree.parse(folder / "out.xml").getroot()
    assert sorted(suite.get("failures") for suite in suites) == ["0", "1"]


def test_a_network_is_found_in_a_file_and_built_with_options(folder: Path) -> None:
    (folder / "nets").mkdir()
    (folder / "two_nets.py").rename(folder / "nets" / "mine.py")
    done = check(
        folder,
        "nets/mine.py:Wide",
        "-o",
        "width=5",
        "-o",
        "num_classes=3",
        "--check",
        "check_metadata",
        "--check",
        "check_output_shape",
        "--json",
        "out.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nets/mine.py:Wide: " in done.stdout


def test_a_model_is_found_by_the_name_of_its_distribution(folder: Path) -> None:
    options = ["-o", "encoder.channels=[4, 8]", "-o", "num_classes=5"]
    done = check(folder, "unetzoo:unet", *options, "--check", "check_repr", "--profile", "core")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unetzoo:unet: 1 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["two_nets:Missing"], "'two_nets:Missing' cannot be imported"),
        (["two_nets:torch"], "of type module"),
        (["broken:Net"], "'broken:Net' cannot be imported: ZeroDivisionError"),
        (["gone.py:Net"], "there is no file"),
        (["two_nets:Sound", "--profile", "fast"], "unknown profile 'fast'"),
        (["two_nets:Sound", "--check", "check_reprr"], "unknown check 'check_reprr'; nearest: check_repr"),
        (["two_nets:Sound", "--json", "no/out.json"], "there is no folder no"),
        (["two_nets:Sound", "--expected-failures", "gone.json"], "gone.json: No such file"),
        (["two_nets:Sound", "--expected-failures", "two_nets.py"], "two_nets.py is not JSON"),
        (["two_nets:Sound", "--expected-failures", "list.json"], "list.json holds a list"),
        (["two_nets:Sound", "--expected-failures", "other.json"], "names two_nets:Other, not checked here"),
        (["two_nets:Sound", "-o", "depth=3"], "two_nets:Sound cannot be built with depth"),
        (["unet", "-o", "encoder.chanels=[4, 8]"], "chanels"),
        (["two_nets:Sound", "-o", "num_classes=none"], "num_classes is 'none'"),
    ],
)
def test_wrong_input_is_refused_before_any_network_is_checked(folder: Path, arguments: list[str], told: str) -> None:
    (folder / "broken.py").write_text("1 / 0")
    (folder / "list.json").write_text("[]")
    (folder / "other.json").write_text('{"two_nets:Other": {"check_repr": "known"}}')
    done = check(folder, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2  # a heading and the mistake
