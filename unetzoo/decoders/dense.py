"""The expanding path of FC-DenseNet (Jegou et al., "The One Hundred Layers Tiramisu", 2017, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.blocks.dense import DenseLayers
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvOptions, make_conv
from unetzoo.nn.resampling import fit
from unetzoo.nn.typing import Size


class DenseUpStage(CheckpointedStage):
    """A transition up (transposed 3x3 convolution), concatenation with the skip, and dense layers."""

    def __init__(self, up: nn.Module, layers: DenseLayers) -> None:
        super().__init__()
        self.up = up
        self.layers = layers

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.layers(torch.cat([fit(self.up(x), skip.shape[2:]), skip], dim=1))


class DenseDecoder(nn.Module):
    """One stage a skip; each passes only its new channels on, the last one all of them.

    `growth` is the width of a dense layer, `depths` the number of layers of each stage, coarsest first. The further
    options are those of `ConvNormAct`. Raises `ConfigError` if the number of depths is not that of the skips.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        growth: int = 16,
        depths: Sequence[int] = (12, 10, 7, 5, 4),
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        skips = len(channels) - 1
        if len(depths) != skips or min(depths, default=1) < 1:
            raise ConfigError(f"depths are {list(depths)}: expected {skips} numbers from 1, one a skip of the encoder")
        self.strides = list(strides[:-1])
        self.channels: list[int] = []
        self.stages = nn.ModuleList()
        width = channels[-1]
        for level, depth in zip(range(skips - 1, -1, -1), depths, strict=True):
            factor = dims.scale_between(strides[level + 1], strides[level], ndim)
            kernel = tuple(max(step, 3) for step in factor)
            up = make_conv(width, width, ndim=ndim, kernel_size=kernel, stride=factor, transposed=True)
            layers = DenseLayers(
                width + channels[level], ndim=ndim, depth=depth, growth=growth, only_new=level > 0, **conv
            )
            self.stages.append(DenseUpStage(up, layers))
            width = layers.out_channels
            self.channels.insert(0, width)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per level, finest first."""
        x, *skips = reversed(features)
        decoded: list[torch.Tensor] = []
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
            decoded.insert(0, x)
        return decoded
