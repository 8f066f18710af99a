"""Inception layers (Szegedy et al., CVPR 2015) as U-Net stages (Punn and Agarwal, "Inception U-Net", TOMM 2020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.normalization import make_norm

Branch = Callable[[int], nn.Module]


class Branches(nn.Module):
    """Normalization and parallel branches, concatenated: (N, in_channels, *S) to (N, out_channels, *S).

    The output channels are divided among the branches, the first of which take what remains. Raises
    `ConfigError` if there are fewer channels than branches.
    """

    def __init__(self, in_channels: int, out_channels: int, make: Sequence[Branch], *, ndim: int, norm: Spec) -> None:
        super().__init__()
        share, rest = divmod(out_channels, len(make))
        if share < 1:
            raise ConfigError(f"{out_channels} channels cannot be divided among {len(make)} branches")
        self.norm = make_norm(norm, in_channels, ndim=ndim)
        self.branches = nn.ModuleList(branch(share + (index < rest)) for index, branch in enumerate(make))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        x = self.norm(x)
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Inception(Branches):
    """Parallel 1x1, 3x3 and 5x5 convolutions and a max-pooled 1x1 one: (N, in_channels, *S) to (N, out_channels, *S).

    `norm` normalizes the input; `activation` follows every convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, norm: Spec = "batch", activation: Spec = "relu"
    ) -> None:
        def conv(width: int, kernel: int) -> ConvNormAct:
            return ConvNormAct(in_channels, width, ndim=ndim, kernel_size=kernel, norm="none", activation=activation)

        make: list[Branch] = [
            lambda width: conv(width, 1),
            lambda width: conv(width, 3),
            lambda width: conv(width, 5),
            lambda width: nn.Sequential(dims.max_pool(ndim)(3, 1, padding=1), conv(width, 1)),
        ]
        super().__init__(in_channels, out_channels, make, ndim=ndim, norm=norm)


class DilatedInception(Branches):
    """Parallel 3x3 convolutions of several `dilations`: (N, in_channels, *S) to (N, out_channels, *S).

    The inception-like block that the U2-Net paper compares residual U-blocks with (Qin et al., 2020, figure 2d).
    `norm` normalizes the input; `activation` follows every convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        dilations: Sequence[int] = (1, 2, 4, 8),
        norm: Spec = "batch",
        activation: Spec = "relu",
    ) -> None:
        if not dilations or min(dilations) < 1:
            raise ConfigError(f"dilations are {list(dilations)}; expected numbers from 1")

        def branch(dilation: int) -> Branch:
            return lambda width: ConvNormAct(
                in_channels, width, ndim=ndim, dilation=dilation, norm="none", activation=activation
            )

        super().__init__(in_channels, out_channels, [branch(d) for d in dilations], ndim=ndim, norm=norm)
