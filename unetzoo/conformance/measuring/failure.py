"""Tells where in a network an exception came from."""

from __future__ import annotations

import traceback
from pathlib import Path

from torch import nn


def describe(error: Exception) -> str:
    """The exception, the sub-module it came from, and the last line outside torch and this suite."""
    frames = list(traceback.walk_tb(error.__traceback__))
    modules = [f.f_locals["self"] for f, _ in frames if isinstance(f.f_locals.get("self"), nn.Module)]
    where = ""
    if modules:
        names = {id(m): name for name, m in modules[0].named_modules()}
        inner = modules[-1]
        where = f" in module {names.get(id(inner)) or type(inner).__name__!r} ({type(inner).__name__})"
    outside = [(f.f_code, line) for f, line in frames if not _is_machinery(f.f_globals.get("__name__", ""))]
    if outside:
        code, line = outside[-1]
        where += f", at {Path(code.co_filename).name}:{line} in {code.co_name}"
    return f"{type(error).__name__}{where}: {error}"


def _is_machinery(module: str) -> bool:
    return module.partition(".")[0] == "torch" or module.startswith("unetzoo.conformance")
