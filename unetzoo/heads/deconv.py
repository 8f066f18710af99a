"""The head that upsamples by a transposed convolution to the classes (ENet's "fullconv", table 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn import dims
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.resampling import fit
from unetzoo.nn.typing import Size


class DeconvHead(nn.Module):
    """A transposed convolution from the finest decoded features to full resolution: to (N, num_classes, *size)."""

    def __init__(self, channels: Sequence[int], strides: Sequence[Size], num_classes: int, *, ndim: int) -> None:
        super().__init__()
        stride = dims.per_axis(strides[0], ndim)
        self.logits = make_conv(channels[0], num_classes, ndim=ndim, kernel_size=stride, stride=stride, transposed=True)

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Return logits at `size`."""
        return fit(self.logits(features[0]), size)
