"""The heads of LinkNet and D-LinkNet: a transposed convolution to finer resolution and two convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct, make_conv
from unetzoo.nn.resampling import fit, interpolate
from unetzoo.nn.typing import Size


class LinkNetHead(nn.Module):
    """Transposed convolution by two, convolution, and a last layer to the classes: to (N, num_classes, *size).

    `variant="paper"` follows Chaurasia and Culurciello (VCIP 2017, figure 1): both are normalized, and the last layer
    is a transposed 2x2 convolution that doubles the resolution once more. `variant="unpadded"` is the head of the
    road-extraction LinkNets: kernels 3, 3 and 2, the first two unpadded. `variant="dlinknet"` follows Zhou et al.
    (CVPR Workshops 2018): kernels 4, 3 and 3, all padded. What is then missing to the image's size is interpolated.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        hidden: int = 32,
        variant: Literal["paper", "unpadded", "dlinknet"] = "dlinknet",
    ) -> None:
        super().__init__()
        padding: Literal["same", "valid"] = "valid" if variant == "unpadded" else "same"
        norm = "batch" if variant == "paper" else "none"
        stride = dims.per_axis(strides[0], ndim)
        first = tuple(min(axis, 2) for axis in stride)
        last = tuple(min(axis // step, 2) for axis, step in zip(stride, first, strict=True))
        kernel = tuple(4 if variant == "dlinknet" and step == 2 else 3 for step in first)
        self.up = ConvNormAct(
            channels[0],
            hidden,
            ndim=ndim,
            kernel_size=kernel,
            stride=first,
            padding=padding,
            bias=True,
            norm=norm,
            transposed=True,
        )
        self.conv = ConvNormAct(hidden, hidden, ndim=ndim, padding=padding, bias=True, norm=norm)
        reached = first
        match variant:
            case "paper":
                reached = tuple(a * b for a, b in zip(first, last, strict=True))
                self.logits = make_conv(hidden, num_classes, ndim=ndim, kernel_size=last, stride=last, transposed=True)
            case "unpadded":
                self.logits = dims.conv(ndim)(hidden, num_classes, 2, padding=1)
            case "dlinknet":
                self.logits = make_conv(hidden, num_classes, ndim=ndim)
        self.full_resolution = reached == stride

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Return logits at `size`."""
        logits = self.logits(self.conv(self.up(features[0])))
        return fit(logits, size) if self.full_resolution else interpolate(logits, size)
