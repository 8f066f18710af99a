"""Networks that break the output contract."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks import SmallUNet
from ..planting import planted


@planted("check_output_fresh", because="shares its memory")
class ReusedOutputBuffer(SmallUNet):
    """Copies its logits into one preallocated tensor."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            return logits
        if getattr(self, "kept", None) is None or self.kept[0].shape != logits.shape:
            self.kept = [torch.empty_like(logits)]
        return self.kept[0].detach().copy_(logits.detach())


@planted("check_forward_runs", because="no_such_layer")
class MissingLayer(SmallUNet):
    """Asks for an attribute that is not there."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        head: nn.Module = self.no_such_layer
        return head(logits)
