"""Parallel dilated convolutions (Chen et al., "DeepLab", TPAMI 2018, section 3.2, "atrous spatial pyramid pooling")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.nn.convolution import ConvNormAct, make_conv


class ASPP(nn.Module):
    """One 3x3 convolution a dilation, concatenated and projected: (N, in_channels, *S) to (N, out_channels, *S).

    As in ResUNet++ there is no branch of kernel 1 and none that pools, and the weights start as those of He et al.
    (ICCV 2015). `order` is that of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        dilations: Sequence[int] = (6, 12, 18),
        norm: Spec = "batch",
        activation: Spec = "relu",
        bias: bool = True,
        order: str = "cna",
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            ConvNormAct(
                in_channels,
                out_channels,
                ndim=ndim,
                dilation=dilation,
                norm=norm,
                activation=activation,
                bias=bias,
                order=order,
            )
            for dilation in dilations
        )
        self.project = make_conv(len(dilations) * out_channels, out_channels, ndim=ndim, kernel_size=1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the branches side by side."""
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
