"""The namespace `monai/`: listed without MONAI, which is imported when a network is built."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from unetzoo.adapters.monai.model import MonaiModel
from unetzoo.adapters.monai.networks import NETWORKS
from unetzoo.adapters.wrapping import component
from unetzoo.errors import UnknownNameError, nearest
from unetzoo.network import DenseModel


class MonaiProvider:
    """Serves `monai/<class name in lower case>`."""

    def names(self, kind: str) -> Iterable[str]:
        """The networks, for models."""
        return list(NETWORKS) if kind == "model" else []

    def get(self, kind: str, name: str) -> partial[DenseModel]:
        """Return the network."""
        if kind != "model" or name not in NETWORKS:
            raise UnknownNameError(f"monai has no {kind} {name!r}{nearest(name, self.names(kind))}")
        facts = NETWORKS[name]
        card = {
            "title": facts.title,
            "authors": facts.authors,
            "year": facts.year,
            "paper": facts.paper,
            "reference": "https://github.com/Project-MONAI/MONAI",
            "license": "Apache-2.0",
            "tags": ["monai", "medical"],
            "capabilities": {"frozen": facts.frozen, "deep_supervision": facts.deep_supervision is not None},
            "follows": f"MONAI's own class {facts.name}, `model.network`. {facts.notes}".strip(),
        }
        return component(MonaiModel, card, network=name)
