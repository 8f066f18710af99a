"""segmentation_models_pytorch, both ways: its architectures as `smp/<name>`, and our parts inside it by `install`."""

from __future__ import annotations

from unetzoo.adapters.smp.inward import SmpModel, SmpProvider
from unetzoo.adapters.smp.outward import install

__all__ = ["SmpModel", "SmpProvider", "install"]
