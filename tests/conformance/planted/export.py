"""Networks that cannot be exported, or whose export is another function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_export", because=r"torch\.export\.export raised")
class BranchOnValue(SmallUNet):
    """Branches on a pixel."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * 2 if x[0, 0, 0, 0] > 0 else logits


@planted("check_jit_trace", because=r"the output of the trace on input")
class FrozenBranch(BranchOnValue):
    """The same: a trace keeps the branch that the example took."""


@planted("check_export_dynamic", because=r"exported program on input|the exported program")
class BakedSize(SmallUNet):
    """Takes its size as plain numbers."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.interpolate(logits, size=[int(s) for s in x.shape[2:]], mode="nearest")


@planted("check_export_dynamic", because=r"exported program|dynamic shapes")
class BakedBatch(SmallUNet):
    """Counts the batch with len() of a list."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return torch.cat([sample[None] for sample in logits.unbind(0)])


@planted("check_onnx", because=r"torch\.onnx\.export.*No ONNX function.*bessel_j1")
class NoOnnxOperator(SmallUNet):
    """Uses a function that ONNX has no operator for."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + torch.special.bessel_j1(logits)


@planted("check_jit_trace", because=r"torch\.jit\.trace raised")
class ReturnsDictionaryOfMixedValues(SmallUNet):
    """Returns a dictionary with a plain object beside its logits, in eval mode."""

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return {"out": logits, "size": object()}


@planted("check_onnx_any_size", because=r"onnxruntime on input")
class RoundsUpByNegation(SmallUNet):
    """Pads to a multiple of 8 by an integer division of a negative number, which ONNX rounds towards zero."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -(-width // 8) * 8 - width, 0, -(-height // 8) * 8 - height))
        return super().forward(padded)[..., :height, :width]
