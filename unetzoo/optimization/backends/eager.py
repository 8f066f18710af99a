"""torch itself, on the rewritten network, with channels last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.optimization.backend import BuildOptions, Run

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EagerBackend:
    """Runs the rewritten network operation by operation."""

    dtypes = ("float32", "bfloat16", "float16")
    devices = ("cpu", "cuda")
    by_name = ()

    def available(self) -> str | None:
        """Return None: torch is always there."""
        return None

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Return the module in channels-last layout and the wanted numeric type."""
        return in_channels_last(module, example, options)


def in_channels_last(module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
    """Return a callable that runs the module, which is converted in place, in channels-last layout."""
    dtype = DTYPES[options.dtype]
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(example.dim(), torch.contiguous_format)
    module.to(dtype=dtype)
    for value in (*module.parameters(), *module.buffers()):
        if value.dim() == example.dim():
            value.data = value.data.contiguous(memory_format=layout)

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(x.to(dtype=dtype, memory_format=layout)).to(
                torch.float32, memory_format=torch.contiguous_format
            )

    return run
