"""The heads of LinkNet and D-LinkNet: a transposed convolution to full resolution and two convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from ..nn import dims
from ..nn.convolution import ConvNormAct, make_conv
from ..nn.resampling import fit, interpolate
from ..nn.typing import Size


class LinkNetHead(nn.Module):
    """Transposed convolution by two, convolution, convolution to the classes: to (N, num_classes, *size).

    `variant="linknet"` follows Chaurasia and Culurciello (2017) as the road-extraction codes have it: kernels 3, 3
    and 2, the first two unpadded. `variant="dlinknet"` follows Zhou et al. (2018): kernels 4, 3 and 3, all padded.
    Features that are not at half resolution are interpolated for the rest.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        hidden: int = 32,
        variant: Literal["linknet", "dlinknet"] = "dlinknet",
    ) -> None:
        super().__init__()
        padding: Literal["same", "valid"] = "valid" if variant == "linknet" else "same"
        step = tuple(min(stride, 2) for stride in dims.per_axis(strides[0], ndim))
        self.half_resolution = dims.per_axis(strides[0], ndim) == step
        first = tuple(4 if variant == "dlinknet" and factor == 2 else 3 for factor in step)
        self.up = ConvNormAct(
            channels[0],
            hidden,
            ndim=ndim,
            kernel_size=first,
            stride=step,
            padding=padding,
            norm="none",
            transposed=True,
        )
        self.conv = ConvNormAct(hidden, hidden, ndim=ndim, padding=padding, norm="none")
        self.logits: nn.Module = (
            dims.conv(ndim)(hidden, num_classes, 2, padding=1)
            if variant == "linknet"
            else make_conv(hidden, num_classes, ndim=ndim)
        )

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Return logits at `size`."""
        logits = self.logits(self.conv(self.up(features[0])))
        return fit(logits, size) if self.half_resolution else interpolate(logits, size)
