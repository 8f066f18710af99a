"""The register of planted defects: a builder, the check that must catch it, and the reason it must give."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

Build = Callable[..., nn.Module]


@dataclass(frozen=True)
class Planted:
    """A broken builder; ``because`` is a pattern that the failure message of ``check_id`` must match.

    ``device='cuda'`` marks a defect that only a GPU shows; ``capabilities`` are declared to the suite.
    """

    check_id: str
    because: str
    build: Build
    capabilities: dict[str, object] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def id(self) -> str:
        return f"{self.check_id}-{self.build.__name__}"


PLANTED: list[Planted] = []


def planted(
    check_id: str, *, because: str, capabilities: dict[str, object] | None = None, device: str = "cpu"
) -> Callable[[Build], Build]:
    """Register a builder as a defect that ``check_id`` must catch for the reason ``because``."""

    def register(build: Build) -> Build:
        PLANTED.append(Planted(check_id, because, build, capabilities or {}, device))
        return build

    return register


def all_planted() -> list[Planted]:
    """Every planted defect, importing the files of ``planted/``."""
    from tests.conformance import planted as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return PLANTED
