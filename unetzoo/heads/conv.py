"""The plain head: one convolution to the classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.resampling import fit, interpolate
from unetzoo.nn.typing import BlockFactory, Size


class ConvHead(nn.Module):
    """A convolution of the finest decoded features, brought to the image's size: to (N, num_classes, *size).

    Features of full resolution are cropped or padded by what is missing, coarser ones interpolated. With
    `deep_supervision` every decoded level has a convolution, and training mode returns the list of
    logits, finest first, all at the image's size (`native_levels`: the finest at the image's size, the others at their
    levels' own); evaluation returns the first alone.

    `unpadded` leaves the finest logits at the size of the decoded features, for networks of unpadded convolutions.
    `logits_block`, a block, takes the place of the convolution. `all_levels` builds every level's convolution without
    deep supervision as well, as nnU-Net does, so that one checkpoint serves both; those left unused do not learn.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        kernel_size: Size = 1,
        transposed: bool = False,
        deep_supervision: bool = False,
        native_levels: bool = False,
        unpadded: bool = False,
        logits_block: BlockFactory | None = None,
        all_levels: bool = False,
    ) -> None:
        super().__init__()
        if unpadded and deep_supervision:
            raise ConfigError("deep_supervision needs logits at the image's size, which an unpadded network has not")
        self.deep_supervision = deep_supervision
        self.native_levels = native_levels
        self.unpadded = unpadded
        levels = len(channels) if deep_supervision or all_levels else 1
        self.full_resolution = [dims.max_stride(stride) == 1 for stride in strides[:levels]]
        make_logits = logits_block or partial(make_conv, kernel_size=kernel_size, transposed=transposed)
        self.convs = nn.ModuleList(make_logits(width, num_classes, ndim=ndim) for width in channels[:levels])
        if not deep_supervision:
            self.convs[1:].requires_grad_(False)

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits at `size`; the list of all levels' logits in training mode with deep supervision."""
        if self.deep_supervision and self.training:
            return [self._level(index, features[index], size) for index in range(len(self.convs))]
        return self._level(0, features[0], size)

    def _level(self, index: int, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        logits = self.convs[index](x)
        if self.native_levels if index else self.unpadded:
            return logits
        return fit(logits, size) if self.full_resolution[index] else interpolate(logits, size)
