"""Dilated convolutions in cascade (Zhou, Zhang and Wu, "D-LinkNet", CVPR Workshops 2018, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.typing import Size


class DilatedCascade(nn.Module):
    """Sums the results of all stages of the cascade: (N, in_channels, *S) to (N, out_channels, *S).

    A stage is a convolution of one dilation and a ReLU. `add_input` adds the input too, which needs equal channels.
    Biases start at zero, as the authors have it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        dilations: Sequence[int] = (1, 2, 4, 8),
        kernel_size: Size = 3,
        add_input: bool = False,
    ) -> None:
        super().__init__()
        if not dilations:
            raise ConfigError("dilations are empty: expected one for each stage of the cascade")
        if add_input and in_channels != out_channels:
            raise ConfigError(f"the input has {in_channels} channels and cannot be added to {out_channels}")
        self.add_input = add_input
        self.convs = nn.ModuleList(
            make_conv(width, out_channels, ndim=ndim, kernel_size=kernel_size, dilation=dilation)
            for width, dilation in zip([in_channels, *[out_channels] * (len(dilations) - 1)], dilations, strict=True)
        )
        for conv in self.convs:
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the cascade."""
        results = [x] if self.add_input else []
        for conv in self.convs:
            x = torch.relu(conv(x))
            results.append(x)
        return reduce(torch.add, results)
