"""The checks, one module a subject."""

from __future__ import annotations

import importlib
import pkgutil

from unetzoo.conformance.definition.check import CHECKS, GATES, Check


def all_checks() -> list[Check]:
    """Every check of the suite, gates before the checks that require them, otherwise by subject and file order."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(CHECKS.values(), key=lambda c: GATES.index(c.id) if c.id in GATES else len(GATES))
