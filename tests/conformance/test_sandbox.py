"""What the sandbox puts back, and what the audit hears."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo
from torch import nn

from unetzoo.conformance.measuring.auditing import audited
from unetzoo.conformance.measuring.sandbox import GlobalState, flip_tf32, sandbox


def suppress_compile_errors() -> None:
    torch._dynamo.config.suppress_errors = True


CHANGES: dict[str, Callable[[], object]] = {
    "torch.get_default_dtype()": lambda: torch.set_default_dtype(torch.float64),
    "torch.get_default_device()": lambda: torch.set_default_device("meta"),
    "torch.is_anomaly_enabled()": lambda: torch.set_anomaly_enabled(True),
    "torch.are_deterministic_algorithms_enabled()": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "torch.backends.mkldnn.enabled": lambda: torch._C._set_mkldnn_enabled(False),
    "torch.backends.cuda.math_sdp_enabled()": lambda: torch.backends.cuda.enable_math_sdp(False),
    "torch.set_printoptions": lambda: torch.set_printoptions(precision=2),
    "backward hooks of every module": lambda: nn.modules.module.register_module_full_backward_hook(lambda *_: None),
    "sys.path": lambda: sys.path.append("elsewhere"),
    "gc.isenabled()": gc.disable,
    "signal handlers": lambda: signal.signal(signal.SIGTERM, lambda *_: None),
    "warnings.filters": lambda: warnings.simplefilter("ignore"),
    "root logger handlers": lambda: logging.getLogger().addHandler(logging.NullHandler()),
    "os.environ": lambda: os.environ.update(OF_A_NETWORK="1"),
    "working directory": lambda: os.chdir("/"),
    "numpy.geterr()": lambda: np.seterr(all="raise"),
    "torch._dynamo.config": suppress_compile_errors,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_in_the_sandbox_is_told_and_put_back(name: str) -> None:
    before = GlobalState.capture()
    with sandbox(0):
        CHANGES[name]()
        changes = before.changes()
        assert [change.partition(": ")[0] for change in changes] == [name]
    assert before.changes() == []


def set_each_precision() -> None:
    torch.backends.cuda.matmul.fp32_precision = torch.backends.mkldnn.matmul.fp32_precision = "tf32"


PRECISIONS: dict[str, Callable[[], object]] = {
    "set_float32_matmul_precision": lambda: torch.set_float32_matmul_precision("high"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "fp32_precision": set_each_precision,
}


@pytest.mark.parametrize("change", PRECISIONS)
def test_a_precision_is_put_back_by_whichever_of_torch_s_ways_it_was_set(change: str) -> None:
    if change == "fp32_precision" and not hasattr(torch.backends, change):
        pytest.skip("torch before 2.9 has one way less")
    before = GlobalState.capture()
    older = torch.get_float32_matmul_precision()
    with sandbox(0):
        PRECISIONS[change]()
        assert any("precision" in told or "tf32" in told for told in before.changes())
    assert before.changes() == []
    assert torch.get_float32_matmul_precision() == older  # refused where torch finds its settings mixed up


def test_tf32_is_turned_over() -> None:
    with sandbox(0):
        before = torch.backends.cuda.matmul.allow_tf32
        flip_tf32()
        assert torch.backends.cuda.matmul.allow_tf32 != before
        flip_tf32()
        assert torch.backends.cuda.matmul.allow_tf32 == before


def test_of_a_mapping_the_entries_that_differ_are_told() -> None:
    before = GlobalState.capture()
    with sandbox(0):
        os.environ["OF_A_NETWORK"] = "1"
        assert before.changes() == ["os.environ: {'OF_A_NETWORK': None} -> {'OF_A_NETWORK': '1'}"]


def test_the_audit_hears_files_connections_and_processes_of_its_own_thread_while_it_lasts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with audited() as heard:
        file.write_text("text")
        file.read_text()
        file.unlink()
        with contextlib.suppress(OSError):
            socket.getaddrinfo("localhost", 9)
        subprocess.run([sys.executable, "-c", ""], check=True)
        other = threading.Thread(target=file.write_text, args=("text",))
        other.start()
        other.join()
    file.write_text("text")
    program = f"started the process {sys.executable!r}"
    assert list(dict.fromkeys(heard))[:4] == [
        f"wrote to the file {str(file)!r}",
        f"removed the file {str(file)!r}",
        "asked for the address of 'localhost'",
        program,
    ]
    assert heard.count(f"wrote to the file {str(file)!r}") == 1
