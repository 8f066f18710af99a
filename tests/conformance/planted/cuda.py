"""Networks whose faults only a CUDA device shows."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_cuda_matches_cpu", because=r"CUDA output with TF32 off", device="cuda")
class OtherPathOnCuda(SmallUNet):
    """Rounds to half on CUDA."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.half().to(x.dtype) if x.is_cuda else logits


@planted("check_cuda_stream", because=r"side stream", device="cuda")
class OnDefaultStream(SmallUNet):
    """Adds the image's mean on the default stream, whatever the current one is."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return logits
        with torch.cuda.stream(torch.cuda.default_stream(x.device)):
            mean = x.square().mean(dim=(1, 2, 3), keepdim=True)
        return logits + mean


@planted("check_deterministic_algorithms", because=r"deterministic", device="cuda")
class ScattersGradients(SmallUNet):
    """Pools to an arbitrary grid, whose backward on CUDA adds in any order."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + torch.nn.functional.adaptive_avg_pool2d(logits, (5, 7)).mean(dim=(2, 3), keepdim=True)


@planted("check_no_sync", because=r"synchroniz", device="cuda")
class ReadsMaximum(SmallUNet):
    """Divides by a maximum that it reads to the host."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits / (1 + x.abs().max().item())


@planted("check_cuda_graph", because=r"replay|capture", device="cuda")
class ReadsMean(SmallUNet):
    """Branches on the mean of the image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * 2 if bool(x.mean() > 0) else logits
