"""Fixtures for every test: small networks, and distributions installed for one test alone."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from unetzoo import registry

Install = Callable[..., Path]
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1


def pytest_configure() -> None:
    """One thread for each process that a test starts, and blocks that glibc keeps when they are freed.

    The processes of several workers share the cores; and the kernel clears each new block, which takes a quarter of the
    time of volumes.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported: it takes a seventh of the time of a deep network's checks."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Take back whatever the test registers at run time."""
    before = dict(registry._runtime)
    yield
    registry._runtime.clear()
    registry._runtime.update(before)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path: `install("dist", files={...}, entry_points={group: {name: value}})`."""
    modules = set(sys.modules)

    def put(name: str, *, files: dict[str, str], entry_points: dict[str, dict[str, str]]) -> Path:
        site = tmp_path / name
        metadata = site / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, values in entry_points.items()
            for line in [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        registry.refresh()
        return site

    yield put
    monkeypatch.undo()
    registry.refresh()
    for module in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
