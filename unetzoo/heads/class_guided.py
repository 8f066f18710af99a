"""The classification-guided head of UNet 3+ (Huang et al., "UNet 3+", ICASSP 2020, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.heads.conv import ConvHead
from unetzoo.nn import dims
from unetzoo.nn.typing import Size


class ClassGuidedHead(ConvHead):
    """A `ConvHead` whose logits are set to zero where the coarsest features show nothing to segment.

    A classifier of two classes on the last of the decoded features (dropout, 1x1 convolution, global maximum)
    decides for the whole image; its decision, 0 or 1, multiplies the logits. The gradient goes through as if its
    probability did ("straight-through", Bengio et al., 2013), so that the classifier learns and the segmentation
    does so for images that it takes for empty. A fresh classifier takes every image for one that shows something:
    weights at random would silence half of the networks.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        kernel_size: Size = 1,
        deep_supervision: bool = False,
        native_levels: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            channels,
            strides,
            num_classes,
            ndim=ndim,
            kernel_size=kernel_size,
            deep_supervision=deep_supervision,
            native_levels=native_levels,
        )
        self.drop = nn.Dropout(dropout)
        self.classify = dims.conv(ndim)(channels[-1], 2, 1)
        nn.init.zeros_(self.classify.get_parameter("weight"))
        self.classify.bias = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.classify.initialized = True  # type: ignore[assignment]

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        """Return gated logits at `size`; the list of all levels' in training mode with deep supervision."""
        scores = self.classify(self.drop(features[-1])).flatten(2).amax(dim=2)
        probability = scores.softmax(dim=1)[:, 1]
        decision = (scores[:, 1] > scores[:, 0]).to(scores.dtype)
        logits = super().forward(features, size)
        if isinstance(logits, list):
            return [_gate(level, decision, probability) for level in logits]
        return _gate(logits, decision, probability)


def _gate(logits: torch.Tensor, decision: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Return `logits * decision` with the gradient of `logits * probability`."""
    shape = [-1, *[1] * (logits.ndim - 1)]
    soft = logits * probability.reshape(shape)
    return soft + (logits * decision.reshape(shape) - soft).detach()
