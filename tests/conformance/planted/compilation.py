"""Networks that torch.compile cannot capture, or compiles again and again."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_compile_fullgraph", because=r"eval mode at size .* raised .*([Dd]ata-dependent|Dynamic control flow)")
class BranchOnMean(SmallUNet):
    """Branches on the mean of the image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * 2 if x.mean() > 0 else logits


@planted("check_compile_fullgraph", because=r"training mode at size .* raised")
class BreaksInTraining(SmallUNet):
    """Reads a value for its log, in training mode only."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            torch._dynamo.graph_break()
        return logits


@planted("check_no_recompile", because=r"same shape.*eval.*steps")
class CountsCalls(SmallUNet):
    """Counts its forwards in Python."""

    steps = 0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.steps += 1
        return logits * (1 if self.steps > 0 else 0)


@planted("check_no_recompile", because=r"same shape.*training")
class AnnealsInTraining(SmallUNet):
    """Scales its logits by the number of training steps so far."""

    steps = 0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return logits / (1 + self.steps)


@planted("check_no_recompile", because=r"for size .* after")
class LoopOverRows(SmallUNet):
    """Loops over the rows in Python."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return torch.stack([logits[:, :, i] for i in range(logits.shape[2])], dim=2)


@planted("check_compile_fullgraph", because=r"in eval mode at size \[\d+, \d+\]")
class LogsOddSizes(SmallUNet):
    """Logs images of odd width, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            logging.getLogger(__name__).debug("odd width")
        return super().forward(x)
