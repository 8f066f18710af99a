"""The dilated center of D-LinkNet (Zhou, Zhang and Wu, "D-LinkNet", CVPR Workshops 2018, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..nn.convolution import make_conv
from ..nn.typing import Size


class Dilated(nn.Module):
    """Dilated convolutions in cascade whose every stage is added to the input: (N, channels, *S) to the same.

    Biases start at zero, as the authors have it.
    """

    def __init__(
        self, channels: int, *, ndim: int, dilations: Sequence[int] = (1, 2, 4, 8), kernel_size: Size = 3
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            make_conv(channels, channels, ndim=ndim, kernel_size=kernel_size, dilation=dilation)
            for dilation in dilations
        )
        for conv in self.convs:
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sum the input and the stages of the cascade."""
        total = x
        for conv in self.convs:
            x = torch.relu(conv(x))
            total = total + x
        return total
