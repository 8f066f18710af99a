"""The namespace `timm/`: its backbones as encoders."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import timm

from unetzoo.adapters.timm.encoder import TimmEncoder
from unetzoo.errors import UnknownNameError, nearest


class TimmProvider:
    """Serves `timm/<architecture>` and `timm/<architecture>.<tag>` (`timm/resnet34.a1_in1k`) as encoders."""

    def names(self, kind: str) -> Iterable[str]:
        """Every architecture of timm, for encoders."""
        return timm.list_models() if kind == "encoder" else []

    def get(self, kind: str, name: str) -> partial[TimmEncoder]:
        """Return the encoder of one architecture, or of one of its pretrained variants."""
        if kind != "encoder":
            raise UnknownNameError(f"timm provides encoders, not a {kind} {name!r}")
        if not timm.is_model(name):
            raise UnknownNameError(f"timm {timm.__version__} has no model {name!r}{nearest(name, timm.list_models())}")
        return partial(TimmEncoder, backbone=name)
