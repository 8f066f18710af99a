"""Every backbone of timm as an encoder, `timm/<name>`."""

from __future__ import annotations

from .encoder import TimmEncoder
from .provider import TimmProvider

__all__ = ["TimmEncoder", "TimmProvider"]
