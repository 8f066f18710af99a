"""segmentation_models_pytorch, both ways: its architectures as `smp/<name>`, and our parts inside it by `install`."""

from __future__ import annotations

from .inward import SmpModel, SmpProvider
from .outward import install

__all__ = ["SmpModel", "SmpProvider", "install"]
