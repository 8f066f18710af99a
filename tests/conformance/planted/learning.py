"""Networks that cannot fit two images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_overfit", because=r"expected < 0\.05")
class BoundedLogits(SmallUNet):
    """Ends in a tanh."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(logits)


@planted("check_overfit", because=r"fell from (\S+) to \1")
class TwoZeroLayers(SmallUNet):
    """Two layers in a row begin at zero: neither ever gets a gradient."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head = nn.Conv2d(4, 4, 1, bias=False)
        self.last = nn.Conv2d(4, num_classes, 1, bias=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.last.weight)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.last(logits)


class _RandomGradient(torch.autograd.Function):
    """Identity whose backward is noise."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return torch.randn_like(grad)


@planted("check_overfit", because=r"expected < 0\.05")
class GradientOfNoise(SmallUNet):
    """Every gradient is there and finite, and leads nowhere."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return _RandomGradient.apply(logits)


@planted("check_train_amp", because=r"was skipped|fell from|not finite", device="cuda")
class OverflowsInHalf(SmallUNet):
    """Scales its logits up and down again by a factor beyond half precision's range."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return (logits * 1e5) * 1e-5
