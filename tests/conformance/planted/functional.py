"""Networks that hold on to tensors of their own and cannot be called as functions of their parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_functional_call", because=r"Not reached by functional_call: head\.weight")
class AliasedWeight(SmallUNet):
    """Keeps the weight of its head under a second, unregistered name, and uses that."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.kept = [self.head.weight]

    def forward(self, x: Tensor) -> Tensor:
        skips = self.encode(x)
        y = skips[-1]
        for index, block in enumerate(self.decoder):
            y = block(self.merge(y, skips[-2 - index], index))
        return nn.functional.conv2d(y, self.kept[0], self.head.bias)


@planted("check_functional_call", because=r"Not reached by functional_call: .*running_mean")
class AliasedBuffer(SmallUNet):
    """Subtracts a running mean that it looked up at construction."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.mean = [self.encoder[0][1].running_mean]

    def encode(self, x: Tensor) -> list[Tensor]:
        first, *rest = super().encode(x)
        return [first - self.mean[0].view(1, -1, 1, 1), *rest]


class _IdentityWithWrongTangent(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return grad

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, tangent: Tensor) -> Tensor:
        return 2 * tangent
