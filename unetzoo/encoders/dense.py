"""The contracting path of FC-DenseNet (Jegou et al., "The One Hundred Layers Tiramisu", 2017, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.blocks.dense import DenseLayers
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct, ConvOptions, make_conv
from unetzoo.nn.typing import Size


class DenseStage(CheckpointedStage):
    """A transition down, if any, and dense layers."""

    def __init__(self, down: nn.Module, layers: DenseLayers) -> None:
        super().__init__()
        self.down = down
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.layers(self.down(x))


class DenseEncoder(nn.Module):
    """Dense layers at every level: (N, in_channels, *S) to features, finest first.

    `stem` is the width of the first convolution, `growth` that of a dense layer, `depths` the number of layers of each
    level. A transition down is a 1x1 convolution and max pooling by two. The coarsest level gives its new channels
    alone, as the paper has it. The further options are those of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        stem: int = 48,
        growth: int = 16,
        depths: Sequence[int] = (4, 5, 7, 10, 12, 15),
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        if not depths or min(depths) < 1:
            raise ConfigError(f"depths are {list(depths)}; expected numbers from 1, one per level")
        transition: ConvOptions = {"order": "nac", **conv, "kernel_size": 1}
        self.stem = make_conv(in_channels, stem, ndim=ndim)
        self.channels: list[int] = []
        self.strides: list[Size] = [2**level for level in range(len(depths))]
        self.stages = nn.ModuleList()
        width = stem
        for level, depth in enumerate(depths):
            down: nn.Module = nn.Identity()
            if level > 0:
                down = nn.Sequential(ConvNormAct(width, width, ndim=ndim, **transition), dims.max_pool(ndim)(2, 2))
            layers = DenseLayers(
                width, ndim=ndim, depth=depth, growth=growth, only_new=level == len(depths) - 1, **conv
            )
            self.stages.append(DenseStage(down, layers))
            width = layers.out_channels
            self.channels.append(width)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
