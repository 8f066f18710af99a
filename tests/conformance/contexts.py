"""A check's view of a network, for tests of what checks are made of."""

from __future__ import annotations

from pathlib import Path

import torch

from unetzoo.capabilities import Capabilities
from unetzoo.conformance.definition.context import Builder, Context


def context(builder: Builder, folder: Path, capabilities: Capabilities | None = None) -> Context:
    """A network's context on the CPU."""
    return Context(
        name="network",
        builder=builder,
        capabilities=capabilities or Capabilities(),
        in_channels=3,
        num_classes=2,
        size=(16, 20),
        device=torch.device("cpu"),
        seed=0,
        tmp_path=folder,
    )
