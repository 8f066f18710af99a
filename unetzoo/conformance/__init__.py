"""The conformance suite: holds any segmentation network to one contract, on CPU and GPU, and says how to mend it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unetzoo.conformance.checks import all_checks as all_checks
    from unetzoo.conformance.parametrize import parametrize_with_checks as parametrize_with_checks
    from unetzoo.conformance.reports.report import ConformanceError as ConformanceError
    from unetzoo.conformance.reports.report import Report as Report
    from unetzoo.conformance.reports.results import Result as Result
    from unetzoo.conformance.runner.suite import check_model as check_model

_HOMES = {
    "all_checks": "checks",
    "parametrize_with_checks": "parametrize",
    "ConformanceError": "reports.report",
    "Report": "reports.report",
    "Result": "reports.results",
    "check_model": "runner.suite",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Load on first use: the pytest plugin must not import torch until it is asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
