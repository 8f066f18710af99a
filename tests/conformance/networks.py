"""A small sound U-Net whose every step is a method, so that a defect is one override."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


class Block(nn.Sequential):
    """Convolution, normalization, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2, norm: Norm | None = None) -> None:
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        batch_norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[ndim]
        super().__init__(
            conv(in_channels, out_channels, 3, padding=1, bias=False), (norm or batch_norm)(out_channels), nn.ReLU()
        )


class SmallUNet(nn.Module):
    """``levels`` levels, max pooling, nearest upsampling to the skip, concatenation; sizes from 2**(levels-1) up."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int = 2,
        width: int = 4,
        norm: Norm | None = None,
        levels: int = 3,
    ) -> None:
        super().__init__()
        w = [width << level for level in range(levels)]
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.ndim = ndim
        self.encoder = nn.ModuleList(
            Block(i, o, ndim=ndim, norm=norm) for i, o in zip([in_channels, *w[:-1]], w, strict=True)
        )
        self.decoder = nn.ModuleList(
            Block(w[i + 1] + w[i], w[i], ndim=ndim, norm=norm) for i in reversed(range(len(w) - 1))
        )
        self.head = conv(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = self.encode(x)
        y = skips[-1]
        for index, block in enumerate(self.decoder):
            y = block(self.merge(y, skips[-2 - index], index))
        return self.finish(self.head(y), x)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features, finest first."""
        features: list[Tensor] = []
        for block in self.encoder:
            x = block(x if not features else self.down(features[-1]))
            features.append(x)
        return features

    def down(self, x: Tensor) -> Tensor:
        return {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[self.ndim](x, 2)

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        """Upsample ``y`` to the skip and concatenate; ``index`` counts from the coarsest."""
        return torch.cat([F.interpolate(y, size=skip.shape[2:], mode="nearest"), skip], dim=1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits
