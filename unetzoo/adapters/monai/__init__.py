"""The networks of MONAI as `monai/<class name in lower case>`."""

from __future__ import annotations

from unetzoo.adapters.monai.model import MonaiModel
from unetzoo.adapters.monai.provider import MonaiProvider

__all__ = ["MonaiModel", "MonaiProvider"]
