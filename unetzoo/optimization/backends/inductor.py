"""`torch.compile`: fused kernels, and CUDA graphs on a GPU."""

from __future__ import annotations

import shutil
import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn

from unetzoo.optimization.backend import BuildOptions, Run
from unetzoo.optimization.backends.eager import in_channels_last


class InductorBackend:
    """Compiles the rewritten network with TorchInductor.

    Normalization is folded before: inductor's own freezing is wrong for a transposed convolution followed by batch
    normalization (torch 2.15), and is not used.
    """

    dtypes = ("float32", "bfloat16", "float16")
    devices = ("cpu", "cuda")
    by_name = ("cpu",)

    def available(self) -> str | None:
        """Return None where a C++ compiler, or Triton for CUDA, is there."""
        if sys.platform == "win32" or not (shutil.which("g++") or shutil.which("clang++")):
            return "needs a C++ compiler: install g++ or clang++"
        return None

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Return the compiled module; it compiles at the first call."""
        graphs = example.is_cuda and not options.dynamic
        compiled: Any = torch.compile(module, dynamic=options.dynamic, mode="reduce-overhead" if graphs else None)
        run = in_channels_last(compiled, example, options)
        lock = threading.Lock()

        def locked(x: Tensor) -> Tensor:
            with lock:
                return run(x).clone() if graphs else run(x)

        return locked
