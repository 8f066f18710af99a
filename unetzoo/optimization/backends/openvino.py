"""OpenVINO: Intel's runtime, on CPUs of any maker."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unetzoo.optimization.backend import BuildOptions, Run, dynamic_shapes, export_input


class OpenVINOBackend:
    """Converts the rewritten network to OpenVINO and runs it on the CPU."""

    dtypes = ("float32", "bfloat16", "int8")
    devices = ("cpu",)
    by_name = ()

    def available(self) -> str | None:
        """Return None where OpenVINO is installed."""
        return None if importlib.util.find_spec("openvino") else "needs openvino: pip install 'unetzoo[export]'"

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Convert and compile for as many threads as torch has."""
        import openvino

        program = torch.export.export(
            module, (export_input(example, options),), dynamic_shapes=dynamic_shapes(example, options)
        )
        converted = openvino.convert_model(program)
        if options.dtype == "int8":
            converted = _quantize(converted, options)
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if options.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(converted, "CPU", settings)
        requests = threading.local()  # a request serves one thread at a time

        def run(x: Tensor) -> Tensor:
            if not hasattr(requests, "mine"):
                requests.mine = compiled.create_infer_request()
            array = x.detach().contiguous().numpy()
            (output,) = requests.mine.infer([array], share_inputs=True).values()
            return torch.from_numpy(np.array(output))

        return run


def _quantize(model: Any, options: BuildOptions) -> Any:
    import nncf

    batches = [batch.detach().contiguous().numpy() for batch in options.calibration]
    return nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))
