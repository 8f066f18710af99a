"""The encoder of U2-Net and IS-Net: one residual U-block per level (Qin et al., Pattern Recognition 2020, figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.blocks.rsu import RSU
from unetzoo.encoders.conv import EncoderStage
from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvOptions, make_conv
from unetzoo.nn.typing import Size


class RSUEncoder(nn.Module):
    """One residual U-block per level with max pooling between: (N, in_channels, *S) to features, finest first.

    `channels`, `mid` (the widths inside) and `heights` have one entry per level; the last `dilated` blocks keep their
    resolution. `stem` is the width of a bare strided convolution that comes first (IS-Net); without it the
    finest level has the image's resolution. Odd sizes are halved upwards. The other options are those of `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        channels: Sequence[int] = (64, 128, 256, 512, 512, 512),
        mid: Sequence[int] = (32, 32, 64, 128, 256, 256),
        heights: Sequence[int] = (7, 6, 5, 4, 4, 4),
        dilated: int = 2,
        stem: int | None = None,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        levels = len(channels)
        if not levels == len(mid) == len(heights):
            raise ConfigError(
                f"{levels} channels, {len(mid)} mid and {len(heights)} heights: expected one of each per level"
            )
        self.stem: nn.Module = nn.Identity() if stem is None else make_conv(in_channels, stem, ndim=ndim, stride=2)
        self.channels = list(channels)
        finest = 1 if stem is None else 2
        self.strides: list[Size] = [finest * 2**level for level in range(levels)]
        self.stages = nn.ModuleList(
            EncoderStage(
                wide_in,
                wide_out,
                1 if level == 0 else 2,
                ndim=ndim,
                downsample={"name": "max", "ceil_mode": True},
                block=partial(RSU, mid=width, height=height, dilated=level >= levels - dilated, **conv),
                depth=1,
                dropout=nn.Identity(),
            )
            for level, (wide_in, wide_out, width, height) in enumerate(
                zip([stem or in_channels, *channels[:-1]], channels, mid, heights, strict=True)
            )
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
