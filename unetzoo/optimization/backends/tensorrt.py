"""TensorRT through torch-tensorrt, on NVIDIA GPUs."""

from __future__ import annotations

import importlib.util
import threading

import torch
from torch import Tensor, nn

from unetzoo.optimization.backend import BuildOptions, Run
from unetzoo.optimization.backends.eager import DTYPES


class TensorRTBackend:
    """Compiles the rewritten network for the sizes of the example."""

    dtypes = ("float32", "bfloat16", "float16")
    devices = ("cuda",)
    by_name = ()

    def available(self) -> str | None:
        """Return None where a GPU is there and torch-tensorrt is installed."""
        if not torch.cuda.is_available():
            return "needs an NVIDIA GPU: torch sees none"
        return (
            None if importlib.util.find_spec("torch_tensorrt") else "needs torch-tensorrt: pip install torch-tensorrt"
        )

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Build the engine; TensorRT engines are for one size, so that dynamic sizes are refused."""
        import torch_tensorrt

        if options.dynamic:
            raise ValueError("TensorRT engines are built for each size")
        engine = torch_tensorrt.compile(
            module, ir="dynamo", inputs=[example], enabled_precisions={DTYPES[options.dtype]}, use_explicit_typing=False
        )
        lock = threading.Lock()

        def run(x: Tensor) -> Tensor:
            with lock, torch.inference_mode():
                return engine(x).float()

        return run
