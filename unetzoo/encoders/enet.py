"""The encoder of ENet (Paszke, Chaurasia, Kim and Culurciello, "ENet", 2016, table 1)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from unetzoo.blocks.enet import ENetBottleneck
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.normalization import make_norm
from unetzoo.nn.typing import Size


class InitialStage(CheckpointedStage):
    """Strided convolution and max pooling side by side (figure 2a): (N, in_channels, *S) to (N, channels, *S / 2)."""

    def __init__(self, in_channels: int, channels: int, *, ndim: int, norm: Spec, activation: Spec) -> None:
        super().__init__()
        if channels <= in_channels:
            raise ConfigError(f"the first of the channels is {channels}; expected more than the image's {in_channels}")
        self.conv = make_conv(in_channels, channels - in_channels, ndim=ndim, stride=2, bias=False)
        self.pool = dims.max_pool(ndim)(2, 2, ceil_mode=True)
        self.norm = make_norm(norm, channels, ndim=ndim)
        self.act = make_activation(activation, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.act(self.norm(torch.cat([self.conv(x), self.pool(x)], dim=1)))


class BottleneckStage(CheckpointedStage):
    """Bottlenecks in sequence."""

    def __init__(self, *bottlenecks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*bottlenecks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.blocks(x)


class ENetEncoder(nn.Module):
    """Early downsampling and many thin bottlenecks: (N, in_channels, *S) to features of strides 2, 4 and 8.

    `channels` are those of the initial stage and of the two stages of bottlenecks; `dropout` is that of these two.
    The last stage runs `repeats` times through plain, dilated and asymmetric bottlenecks.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        channels: tuple[int, int, int] = (16, 64, 128),
        dropout: tuple[float, float] = (0.01, 0.1),
        repeats: int = 2,
        norm: Spec = "batch",
        activation: Spec = "prelu",
    ) -> None:
        super().__init__()
        initial, thin, wide = channels

        bottleneck = partial(ENetBottleneck, ndim=ndim, norm=norm, activation=activation)
        section = [
            partial(bottleneck, wide, wide, dropout=dropout[1], **options)
            for options in (
                {},
                {"dilation": 2},
                {"asymmetric": 5},
                {"dilation": 4},
                {},
                {"dilation": 8},
                {"asymmetric": 5},
                {"dilation": 16},
            )
        ]
        self.channels = list(channels)
        self.strides: list[Size] = [2, 4, 8]
        self.stages = nn.ModuleList(
            [
                InitialStage(in_channels, initial, ndim=ndim, norm=norm, activation=activation),
                BottleneckStage(
                    bottleneck(initial, thin, stride=2, dropout=dropout[0]),
                    *(bottleneck(thin, thin, dropout=dropout[0]) for _ in range(4)),
                ),
                BottleneckStage(
                    bottleneck(thin, wide, stride=2, dropout=dropout[1]),
                    *(make() for make in section * repeats),
                ),
            ]
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
