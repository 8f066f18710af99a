"""Every backbone of timm as an encoder, `timm/<name>`."""

from __future__ import annotations

from unetzoo.adapters.timm.encoder import TimmEncoder
from unetzoo.adapters.timm.provider import TimmProvider

__all__ = ["TimmEncoder", "TimmProvider"]
