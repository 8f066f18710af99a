"""The decoder of U2-Net and IS-Net: one residual U-block per level (Qin et al., Pattern Recognition 2020, figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.blocks.rsu import RSU
from unetzoo.errors import ConfigError
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvOptions
from unetzoo.nn.resampling import interpolate
from unetzoo.nn.typing import Size


class RSUDecoderStage(CheckpointedStage):
    """Interpolation to the skip's size, concatenation, and a residual U-block."""

    def __init__(self, block: RSU) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, skip_channels, *T) to (N, out_channels, *T)."""
        return self.block(torch.cat([interpolate(x, skip.shape[2:]), skip], dim=1))


class RSUDecoder(nn.Module):
    """One residual U-block a skip; the coarsest features are passed on as the last decoded level.

    `decoder_channels`, `mid` (the widths inside) and `heights` have one entry per stage, coarsest first; the blocks of
    the first `dilated` stages keep their resolution. The other options are those of `ConvNormAct`. Raises
    `ConfigError` if the lengths are not the number of stages.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        decoder_channels: Sequence[int] = (512, 256, 128, 64, 64),
        mid: Sequence[int] = (256, 128, 64, 32, 16),
        heights: Sequence[int] = (4, 4, 5, 6, 7),
        dilated: int = 1,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        stages = len(channels) - 1
        if not len(decoder_channels) == len(mid) == len(heights) == stages:
            raise ConfigError(
                f"{len(decoder_channels)} decoder_channels, {len(mid)} mid and {len(heights)} heights: expected "
                f"{stages} each, one a skip of the encoder"
            )
        self.channels = [*decoder_channels[::-1], channels[-1]]
        self.strides = list(strides)
        self.stages = nn.ModuleList(
            RSUDecoderStage(
                RSU(deeper + skip, width, ndim=ndim, mid=inner, height=height, dilated=stage < dilated, **conv)
            )
            for stage, (deeper, skip, width, inner, height) in enumerate(
                zip(
                    [channels[-1], *decoder_channels[:-1]],
                    channels[-2::-1],
                    decoder_channels,
                    mid,
                    heights,
                    strict=True,
                )
            )
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per level, finest first."""
        x, *skips = reversed(features)
        decoded = [x]
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
            decoded.insert(0, x)
        return decoded
