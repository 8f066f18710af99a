"""The MultiRes block and the residual path (Ibtehaj and Rahman, "MultiResUNet", Neural Networks 2020, figures 3, 4)."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn.activation import make_activation
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.normalization import make_norm


class MultiRes(nn.Module):
    """Three 3x3 convolutions in a chain, all three results concatenated, and a 1x1 shortcut.

    (N, in_channels, *S) to (N, out_channels, *S). A sixth, a third and a half of the output channels come from the
    first, the second and the third convolution: receptive fields of 3, 5 and 7.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        norm: Spec = "batch",
        activation: Spec = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        widths = [out_channels // 6, round(out_channels / 3)]
        widths.append(out_channels - sum(widths))
        if min(widths) < 1:
            raise ConfigError(f"{out_channels} output channels: a MultiRes block splits them in three and needs 6")
        self.convs = nn.ModuleList(
            ConvNormAct(wide_in, wide_out, ndim=ndim, norm=norm, activation=activation, bias=bias)
            for wide_in, wide_out in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.shortcut = ConvNormAct(
            in_channels, out_channels, ndim=ndim, kernel_size=1, norm=norm, activation="none", bias=bias
        )
        self.norm_joined = make_norm(norm, out_channels, ndim=ndim)
        self.norm_sum = make_norm(norm, out_channels, ndim=ndim)
        self.act = make_activation(activation, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        shortcut = self.shortcut(x)
        results = []
        for conv in self.convs:
            x = conv(x)
            results.append(x)
        return self.act(self.norm_sum(self.norm_joined(torch.cat(results, dim=1)) + shortcut))


class ResPathStep(nn.Module):
    """A 3x3 convolution beside a 1x1 shortcut; `twice` applies the last normalization before the sum as well."""

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, norm: Spec, activation: Spec, bias: bool, twice: bool
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, out_channels, ndim=ndim, norm=norm, activation=activation, bias=bias)
        self.shortcut = ConvNormAct(
            in_channels, out_channels, ndim=ndim, kernel_size=1, norm=norm, activation="none", bias=bias
        )
        self.norm = make_norm(norm, out_channels, ndim=ndim)
        self.act = make_activation(activation, out_channels)
        self.twice = twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the step."""
        y = self.conv(x)
        if self.twice:
            y = self.act(self.norm(y))
        return self.act(self.norm(y + self.shortcut(x)))


class ResPath(nn.Sequential):
    """Residual steps on the way of a skip connection: (N, in_channels, *S) to (N, out_channels, *S).

    `depth` is their number. `norm_twice` follows the authors' PyTorch code, in which the normalization of each step
    is applied to the convolution's result and, with the same parameters, to the sum; the paper has the second alone.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        depth: int = 1,
        norm: Spec = "batch",
        activation: Spec = "relu",
        bias: bool = True,
        norm_twice: bool = False,
    ) -> None:
        if depth < 1:
            raise ConfigError(f"depth is {depth}; a residual path needs at least one step")
        super().__init__(
            *(
                ResPathStep(
                    in_channels if index == 0 else out_channels,
                    out_channels,
                    ndim=ndim,
                    norm=norm,
                    activation=activation,
                    bias=bias,
                    twice=norm_twice,
                )
                for index in range(depth)
            )
        )
