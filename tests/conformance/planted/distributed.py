"""Networks whose replicas fail or drift apart."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_ddp", because=r"finished reduction")
class SpareLayer(SmallUNet):
    """Owns a layer that forward does not use."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.spare = nn.Conv2d(4, 4, 1)


@planted("check_ddp", because=r"finished reduction")
class SkipsAtRandom(SmallUNet):
    """Leaves out a branch every other step, by chance, on each process for itself."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.refine = nn.Conv2d(num_classes, num_classes, 3, padding=1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.refine(logits) if random.random() < 0.5 else logits


@planted("check_ddp", because=r"replicas differ in head\.bias")
class ChangesItsBias(SmallUNet):
    """Centers the bias of its head on the mean of the batch, in place, in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.head.bias.sub_(0.1 * logits.mean(dim=(0, 2, 3)))  # type: ignore[union-attr]
        return logits


class _CenteredNorm(nn.BatchNorm2d):
    """Batch normalization that also scales by two."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@planted("check_sync_bn", because="after convert_sync_batchnorm")
class OwnBatchNorm(SmallUNet):
    """Uses a subclass of BatchNorm with a behavior of its own."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=_CenteredNorm)
