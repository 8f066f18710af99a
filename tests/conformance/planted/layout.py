"""Networks that count on the order of memory."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_channels_last", because=r"transposed input .*view size is not compatible")
class ViewOfFeatures(SmallUNet):
    """Flattens the pixels with view."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        return logits + x.view(n, c, -1).mean(dim=(1, 2)).view(n, 1, 1, 1)


@planted("check_channels_last", because=r"the output for a channels-last")
class ReadsMemoryInOrder(SmallUNet):
    """Reads the image's first pixels straight from memory."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        first = torch.as_strided(x, (n, 1, h, w), (x[0].numel(), h * w, w, 1))
        return logits + first


@planted("check_channels_last", because=r"training mode.*view size|view size.*training mode|training mode raised")
class ViewInTraining(SmallUNet):
    """As ViewOfFeatures, in training mode only."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + x.view(x.shape[0], -1).mean(dim=1)[:, None, None, None] if self.training else logits


@planted("check_channels_last", because=r"the output for a channels-last input .*differs")
class InPlaceStrides(SmallUNet):
    """Takes a step of one along rows for granted."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        row = torch.as_strided(x, (x.shape[-1],), (1,), x.storage_offset())
        return logits + row
