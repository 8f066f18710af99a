"""The networks of MONAI as `monai/<class name in lower case>`."""

from __future__ import annotations

from .model import MonaiModel
from .provider import MonaiProvider

__all__ = ["MonaiModel", "MonaiProvider"]
