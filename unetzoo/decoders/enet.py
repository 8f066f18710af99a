"""The decoder of ENet (Paszke, Chaurasia, Kim and Culurciello, "ENet", 2016, table 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.blocks.enet import ENetBottleneck
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.dropout import make_dropout
from unetzoo.nn.resampling import fit
from unetzoo.nn.typing import Size
from unetzoo.nn.unpooling import max_unpool_like


class ENetUpStage(CheckpointedStage):
    """An upsampling bottleneck and further ones: (N, in_channels, *S) and (N, out_channels, *T) to the latter's shape.

    The main branch is projected and unpooled at the maxima of the encoder's features; the other one is a bottleneck
    with a transposed convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: tuple[int, ...],
        *,
        ndim: int,
        depth: int,
        dropout: float,
        norm: Spec,
        activation: Spec,
    ) -> None:
        super().__init__()
        hidden = max(out_channels // 4, 1)
        kernel = tuple(3 if step <= 3 else step for step in factor)
        self.factor = factor
        self.main = ConvNormAct(in_channels, out_channels, ndim=ndim, kernel_size=1, norm=norm, activation="none")
        self.branch = nn.Sequential(
            ConvNormAct(in_channels, hidden, ndim=ndim, kernel_size=1, norm=norm, activation=activation),
            ConvNormAct(
                hidden,
                hidden,
                ndim=ndim,
                kernel_size=kernel,
                stride=factor,
                transposed=True,
                norm=norm,
                activation=activation,
            ),
            ConvNormAct(hidden, out_channels, ndim=ndim, kernel_size=1, norm=norm, activation="none"),
            make_dropout(dropout, ndim=ndim),
        )
        self.act = make_activation(activation, out_channels)
        self.blocks = nn.Sequential(
            *(
                ENetBottleneck(out_channels, out_channels, ndim=ndim, dropout=dropout, norm=norm, activation=activation)
                for _ in range(depth - 1)
            )
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        unpooled = max_unpool_like(self.main(x), skip, self.factor)
        return self.blocks(self.act(unpooled + fit(self.branch(x), skip.shape[2:])))


class ENetDecoder(nn.Module):
    """One upsampling bottleneck and further bottlenecks a skip, of which only the places of maxima are used.

    `depths` counts the bottlenecks of each stage, coarsest first. Raises `ConfigError` if their number is not that of
    the skips.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        depths: Sequence[int] = (3, 2),
        dropout: float = 0.1,
        norm: Spec = "batch",
        activation: Spec = "relu",
    ) -> None:
        super().__init__()
        skips = len(channels) - 1
        if len(depths) != skips or min(depths, default=1) < 1:
            raise ConfigError(f"depths are {list(depths)}: expected {skips} numbers from 1, one a skip of the encoder")
        self.channels = list(channels[:-1])
        self.strides = list(strides[:-1])
        self.stages = nn.ModuleList(
            ENetUpStage(
                channels[level + 1],
                channels[level],
                dims.scale_between(strides[level + 1], strides[level], ndim),
                ndim=ndim,
                depth=depth,
                dropout=dropout,
                norm=norm,
                activation=activation,
            )
            for level, depth in zip(range(skips - 1, -1, -1), depths, strict=True)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per level, finest first."""
        x, *skips = reversed(features)
        decoded: list[torch.Tensor] = []
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
            decoded.insert(0, x)
        return decoded
