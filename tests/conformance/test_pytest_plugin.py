"""The pytest plugin and the decorator, in a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, num_classes, 1))

class Saturated(Net):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes)
        self.gate = nn.Conv2d(in_channels, num_classes, 1)
        nn.init.constant_(self.gate.bias, 40.0)

    def forward(self, x):
        return super().forward(x) * torch.sigmoid(self.gate(x))

class Loud(Net):
    def extra_repr(self):
        raise RuntimeError("no repr")
"""


def run(folder: Path, *arguments: str) -> str:
    (folder / "nets.py").write_text(MODULE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
    paths = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    return done.stdout + done.stderr


def test_every_check_is_an_item_with_a_readable_id(tmp_path: Path) -> None:
    out = run(tmp_path, "--unetzoo=nets:Net,nets:Loud", "-k", "check_repr or check_no_sync")
    assert "unetzoo::nets:Net::check_repr PASSED" in out
    assert "unetzoo::nets:Loud::check_repr FAILED" in out
    assert "unetzoo::nets:Net::check_no_sync SKIPPED" in out
    assert "extra_repr of 'the network' raised RuntimeError: no repr" in out


def test_expected_failures_are_strict(tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"nets:Net": {"check_repr": "old"}, "nets:Loud": {"check_repr": "loud"}}')
    out = run(tmp_path, "--unetzoo=nets:Net,nets:Loud", "-k", "check_repr", "--unetzoo-expected-failures=known.json")
    assert "unetzoo::nets:Loud::check_repr XFAIL" in out
    assert "unetzoo::nets:Net::check_repr FAILED" in out
    assert "passed, though its failure was expected" in out


def test_advice_fails_no_test(tmp_path: Path) -> None:
    out = run(tmp_path, "--unetzoo=nets:Saturated", "-k", "check_init_grad_scale", "-rx")
    assert "unetzoo::nets:Saturated::check_init_grad_scale XFAIL (advice: " in out, out


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    for arguments, told in (
        (["--unetzoo=nets:Net", "--unetzoo-profile=fast"], "unknown profile 'fast'"),
        (["--unetzoo=nets:Net", "--unetzoo-expected-failures=nets.py"], "nets.py is not JSON"),
        (["--unetzoo=nets:Missing"], "'nets:Missing' cannot be imported"),
    ):
        out = run(tmp_path, *arguments)
        assert told in out
        assert "Traceback" not in out


def test_a_package_parametrises_a_test_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_nets.py").write_text(
        "import unetzoo.conformance\nfrom nets import Net, Loud\n\n"
        "@unetzoo.conformance.parametrize_with_checks([Net, Loud])\n"
        "def test_conformance(check):\n    check()\n"
    )
    out = run(tmp_path, "test_nets.py", "-k", "check_repr")
    assert "test_conformance[Net-check_repr] PASSED" in out
    assert "test_conformance[Loud-check_repr] FAILED" in out


@pytest.mark.parametrize("module", ["torch", "timm"])
def test_the_plugin_imports_nothing_heavy_unless_asked(module: str) -> None:
    code = f"import sys, unetzoo.conformance.pytest_plugin; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
