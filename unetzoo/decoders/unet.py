"""The expanding path with skip connections (Ronneberger et al., "U-Net", MICCAI 2015, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..blocks.double_conv import DoubleConv
from ..errors import ConfigError
from ..nn import dims
from ..nn.checkpointing import Stage
from ..nn.merging import Merge
from ..nn.resampling import Upsample, fit
from ..nn.typing import BlockFactory, Size, Spec


class DecoderStage(Stage):
    """Upsampling, merging with the skip if there is one, and a block."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int | None,
        out_channels: int,
        factor: Size,
        *,
        ndim: int,
        upsample: Spec,
        skip: Spec,
        block: BlockFactory,
    ) -> None:
        super().__init__()
        self.up = Upsample(upsample, in_channels, out_channels, factor, ndim=ndim)
        merged = self.up.out_channels
        if skip_channels is not None:
            self.merge = Merge(skip, merged, skip_channels, ndim=ndim)
            merged = self.merge.out_channels
        self.block = block(merged, out_channels, ndim=ndim)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, skip_channels, *T) to (N, out_channels, *T)."""
        x = self.up(x)
        if skip is not None:
            x = self.merge(fit(x, skip.shape[2:]), skip)
        return self.block(x)


class UNetDecoder(nn.Module):
    """One stage a skip, from the coarsest level to the finest, then stages without a skip up to full resolution.

    `decoder_channels` tells the width of each stage, coarsest first; by default the skips' widths, halved for each
    further stage. `upsample` is `deconv`, `linear` or `nearest` with their options; `skip` is `concat`, `add`,
    `attention` or `none`. An upsampled tensor that is smaller than its skip (odd sizes) is padded with zeros.

    Raises `ConfigError` if the number of `decoder_channels` is not the number of stages.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        decoder_channels: Sequence[int] | None = None,
        upsample: Spec = "deconv",
        skip: Spec = "concat",
        block: BlockFactory = DoubleConv,
    ) -> None:
        super().__init__()
        targets = list(strides[-2::-1]) + _further_strides(strides[0])
        skips = list(channels[-2::-1])
        widths = list(decoder_channels or _default_widths(skips or [channels[0]], len(targets)))
        if len(widths) != len(targets):
            raise ConfigError(
                f"{len(widths)} decoder_channels: expected {len(targets)}, one for each of the strides {targets}"
            )
        self.channels = widths[::-1]
        self.strides = targets[::-1]
        coarse, wide_in = strides[-1], channels[-1]
        self.stages = nn.ModuleList()
        for index, (target, width) in enumerate(zip(targets, widths, strict=True)):
            self.stages.append(
                DecoderStage(
                    wide_in,
                    skips[index] if index < len(skips) else None,
                    width,
                    dims.scale_between(coarse, target, ndim),
                    ndim=ndim,
                    upsample=upsample,
                    skip=skip,
                    block=block,
                )
            )
            coarse, wide_in = target, width

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor a stage, finest first."""
        x, *skips = reversed(features)
        decoded: list[torch.Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(x, skips[index]) if index < len(skips) else stage(x)
            decoded.insert(0, x)
        return decoded


def _further_strides(finest: Size) -> list[Size]:
    """Strides of the stages that halve `finest` as often as it goes."""
    strides: list[Size] = []
    while isinstance(finest, int) and finest % 2 == 0:
        finest //= 2
        strides.append(finest)
    return strides


def _default_widths(skips: Sequence[int], stages: int) -> list[int]:
    widths = list(skips[:stages])
    while len(widths) < stages:
        widths.append(max(widths[-1] // 2, 16))
    return widths
