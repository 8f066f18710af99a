"""The bottleneck of ENet (Paszke, Chaurasia, Kim and Culurciello, "ENet", 2016, figure 2b)."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.convolution import ConvNormAct, make_conv
from unetzoo.nn.dropout import make_dropout
from unetzoo.nn.typing import Size


class ENetBottleneck(nn.Module):
    """Projection, convolution, expansion, and the input added: (N, in_channels, *S) to (N, out_channels, *S / stride).

    The convolution has a quarter of the output channels.

    Args:
        in_channels: input channels; further ones are zeros on the branch that is added.
        out_channels: output channels.
        ndim: 2 or 3.
        stride: of the projection; the branch that is added is max-pooled.
        dilation: of the convolution.
        asymmetric: kernel length of one convolution per axis, in place of the 3x3 one; default: none.
        dropout: probability of dropping a channel behind the expansion.
        norm: behind every convolution.
        activation: behind every convolution but the last, and behind the sum.

    Raises:
        ConfigError: fewer output channels than input channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        stride: Size = 1,
        dilation: Size = 1,
        asymmetric: int | None = None,
        dropout: float = 0.1,
        norm: Spec = "batch",
        activation: Spec = "prelu",
    ) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ConfigError(
                f"an ENet bottleneck keeps or adds channels: it cannot turn {in_channels} into {out_channels}"
            )
        hidden = max(out_channels // 4, 1)
        step = dims.per_axis(stride, ndim)
        kernels: list[Size] = [3]
        if asymmetric is not None:
            kernels = [tuple(asymmetric if a == axis else 1 for a in range(ndim)) for axis in range(ndim)]
        self.step = step
        self.pool = dims.max_pool(ndim)(step, step, ceil_mode=True) if set(step) != {1} else nn.Identity()
        self.added = out_channels - in_channels
        self.branch = nn.Sequential(
            ConvNormAct(
                in_channels, hidden, ndim=ndim, kernel_size=step, stride=step, norm=norm, activation=activation
            ),
            *(make_conv(hidden, hidden, ndim=ndim, kernel_size=kernel, bias=False) for kernel in kernels[:-1]),
            ConvNormAct(
                hidden, hidden, ndim=ndim, kernel_size=kernels[-1], dilation=dilation, norm=norm, activation=activation
            ),
            ConvNormAct(hidden, out_channels, ndim=ndim, kernel_size=1, norm=norm, activation="none"),
            make_dropout(dropout, ndim=ndim),
        )
        self.act = make_activation(activation, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        pooled = self.pool(x)
        if set(self.step) != {1}:  # the branch keeps the remainder, as the pool does
            sides = zip(reversed(pooled.shape[2:]), reversed(self.step), reversed(x.shape[2:]), strict=True)
            x = nn.functional.pad(x, [side for want, step, have in sides for side in (0, want * step - have)])
        main = nn.functional.pad(pooled, [0, 0] * (x.ndim - 2) + [0, self.added])
        return self.act(main + self.branch(x))
