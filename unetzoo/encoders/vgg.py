"""VGG (Simonyan and Zisserman, ICLR 2015), and its fully convolutional form (Long et al., CVPR 2015, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from unetzoo.blocks.conv import Conv
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.dropout import DropoutKind, make_dropout
from unetzoo.nn.typing import BlockFactory, Size


class VGGStage(CheckpointedStage):
    """Convolutions and max pooling: (N, in_channels, *S) to (N, out_channels, *S / 2), rounded up."""

    def __init__(self, convs: list[nn.Module], *, ndim: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*convs)
        self.pool = dims.max_pool(ndim)(2, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.pool(self.convs(x))


class VGGEncoder(nn.Module):
    """Stages of convolutions, each pooled at its end: (N, in_channels, *S) to the pooled features, finest first.

    Without normalization so deep a network learns only from weights of the right size: they start as He et al. (ICCV
    2015) have them, biases at zero.

    Args:
        in_channels: channels of the image.
        ndim: 2 or 3.
        channels: width of each stage.
        depths: number of blocks of each stage; default: those of VGG-16.
        block: default: a convolution without normalization.
        levels: indices of the stages whose features are returned, the last one among them; default: all.
        border: zeros around the image before the first convolution, which make room for the unpadded classifier.
        classifier: width of two further layers behind the last stage, fully connected ones made convolutional: an
            unpadded 7x7 convolution and a 1x1 convolution; default: none.
        dropout: probability of dropout behind each of these two.
        dropout_kind: `channel` or `element`.

    Raises:
        ConfigError: the lengths differ, or the levels are not rising indices that end in the last stage.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (2, 2, 3, 3, 3),
        block: BlockFactory | None = None,
        levels: Sequence[int] | None = None,
        border: int = 0,
        classifier: int | None = None,
        dropout: float = 0.5,
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        stages = len(channels)
        if len(depths) != stages:
            raise ConfigError(f"{stages} channels and {len(depths)} depths: expected one of each per stage")
        self.levels = list(range(stages) if levels is None else levels)
        if self.levels != sorted(set(self.levels)) or not set(self.levels) <= set(range(stages)):
            raise ConfigError(f"levels are {self.levels}; expected rising numbers from 0 to {stages - 1}")
        if self.levels[-1:] != [stages - 1]:
            raise ConfigError(f"levels are {self.levels}; expected the last stage, {stages - 1}, among them")
        block = block or partial(Conv, norm="none")
        self.border = border
        self.stages = nn.ModuleList()
        width = in_channels
        for wide, depth in zip(channels, depths, strict=True):
            widths = [width, *[wide] * depth]
            convs = [block(a, b, ndim=ndim) for a, b in pairwise(widths)]
            self.stages.append(VGGStage(convs, ndim=ndim))
            width = wide
        self.classifier = nn.Sequential()
        if classifier is not None:
            self.classifier = nn.Sequential(
                ConvNormAct(width, classifier, ndim=ndim, kernel_size=7, padding="valid", norm="none"),
                make_dropout(dropout, ndim=ndim, kind=dropout_kind),
                ConvNormAct(classifier, classifier, ndim=ndim, kernel_size=1, norm="none"),
                make_dropout(dropout, ndim=ndim, kind=dropout_kind),
            )
            width = classifier
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.channels = [*(channels[level] for level in self.levels[:-1]), width]
        self.strides: list[Size] = [2 ** (level + 1) for level in self.levels]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        x = nn.functional.pad(x, [self.border] * 2 * (x.ndim - 2))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.classifier(x)
        return [features[level] for level in self.levels]
