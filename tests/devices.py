"""The devices that tests run on: the CPU, and CUDA where it is there."""

from __future__ import annotations

import torch

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
