"""ONNX Runtime on the CPU, or on CUDA where its GPU build is installed."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import torch
from torch import Tensor, nn

from unetzoo.optimization.backend import BuildOptions, Run, dynamic_shapes, export_input


class OnnxRuntimeBackend:
    """Exports the rewritten network to ONNX and runs it with ONNX Runtime."""

    dtypes = ("float32",)
    devices = ("cpu",)
    by_name = ()

    def available(self) -> str | None:
        """Return None where ONNX Runtime and the exporter are installed."""
        missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
        return f"needs {', '.join(missing)}: pip install 'unetzoo[export]'" if missing else None

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Export and open a session with as many threads as torch has."""
        import onnxruntime

        program: Any = torch.onnx.export(
            module,
            (export_input(example, options),),
            dynamo=True,
            dynamic_shapes=dynamic_shapes(example, options),
            verbose=False,
        )
        file = io.BytesIO()
        program.save(file)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 3
        # Threads that wait by spinning take the cores from whatever runs between two calls.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(file.getvalue(), settings, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def run(x: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {name: x.detach().contiguous().numpy()})[0])

        return run
