"""The expanding path with skip connections (Ronneberger et al., "U-Net", MICCAI 2015, figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from ..blocks.double_conv import DoubleConv
from ..errors import ConfigError
from ..nn import dims
from ..nn.checkpointing import Stage
from ..nn.dropout import DropoutKind, last_levels, make_dropout
from ..nn.merging import Merge
from ..nn.resampling import Upsample, center_crop, fit
from ..nn.typing import BlockFactory, Size, Spec

Align = Literal["pad", "resize", "crop"]


class DecoderStage(Stage):
    """Upsampling to `up_channels`, merging with the skip if there is one, a block and dropout."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int | None,
        out_channels: int,
        factor: Size,
        *,
        ndim: int,
        up_channels: int,
        upsample: Spec,
        skip: Spec,
        align: Align,
        block: BlockFactory,
        dropout: nn.Module,
    ) -> None:
        super().__init__()
        self.align = align
        self.up = Upsample(upsample, in_channels, up_channels, factor, ndim=ndim)
        merged = self.up.out_channels
        if skip_channels is not None:
            self.merge = Merge(skip, merged, skip_channels, ndim=ndim)
            merged = self.merge.out_channels
        self.block = block(merged, out_channels, ndim=ndim)
        self.drop = dropout

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, skip_channels, *T) to (N, out_channels, *T)."""
        if skip is None:
            x = self.up(x)
        elif self.align == "crop":
            x = self.up(x)
            x = self.merge(x, center_crop(skip, x.shape[2:]))
        else:
            size = skip.shape[2:]
            x = self.merge(fit(self.up(x, size if self.align == "resize" else None), size), skip)
        return self.drop(self.block(x))


class UNetDecoder(nn.Module):
    """One stage a skip, from the coarsest level to the finest, then stages without a skip up to full resolution.

    Args:
        channels: channels of the encoder's features, finest first.
        strides: their strides.
        ndim: spatial dimensions.
        decoder_channels: channels that each stage gives, coarsest first; by default those of its skip, halved for
            each further stage.
        up_channels: channels that each stage upsamples to, where a convolution goes with it; `decoder_channels`
            unless told.
        upsample: `deconv`, `linear` or `nearest`, with their options.
        skip: `concat`, `add`, `attention` or `none`, with their options; or one of them for each skip, coarsest
            first.
        align: what happens where the upsampled tensor and its skip differ in size (odd sizes, unpadded
            convolutions): `pad` pads it with zeros, `resize` interpolates straight to the skip's size, `crop` crops
            the skip around its centre.
        block: block of every stage.
        dropout: probabilities behind the last stages, the finest last.
        dropout_kind: `channel` or `element`.

    Raises:
        ConfigError: the number of `decoder_channels`, `up_channels` or skips is not that of the stages.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        decoder_channels: Sequence[int] | None = None,
        up_channels: Sequence[int] | None = None,
        upsample: Spec = "deconv",
        skip: Spec | Sequence[Spec] = "concat",
        align: Align = "pad",
        block: BlockFactory = DoubleConv,
        dropout: Sequence[float] = (),
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        targets = list(strides[-2::-1]) + _further_strides(strides[0])
        skips = list(channels[-2::-1])
        widths = list(decoder_channels or _default_widths(skips or [channels[0]], len(targets)))
        merges = [skip] * len(skips) if isinstance(skip, str | Mapping) else list(skip)
        ups = list(up_channels or widths)
        if {len(widths), len(ups)} != {len(targets)}:
            raise ConfigError(
                f"{len(widths)} decoder_channels and {len(ups)} up_channels: expected {len(targets)}, one for each of "
                f"the strides {targets}"
            )
        if len(merges) != len(skips):
            raise ConfigError(f"{len(merges)} skip merges: expected one, or one for each of the {len(skips)} skips")
        self.channels = widths[::-1]
        self.strides = targets[::-1]
        coarse, wide_in = strides[-1], channels[-1]
        self.stages = nn.ModuleList()
        for index, probability in enumerate(last_levels(dropout, len(targets))):
            self.stages.append(
                DecoderStage(
                    wide_in,
                    skips[index] if index < len(skips) else None,
                    widths[index],
                    dims.scale_between(coarse, targets[index], ndim),
                    ndim=ndim,
                    up_channels=ups[index],
                    upsample=upsample,
                    skip=merges[index] if index < len(skips) else "none",
                    align=align,
                    block=block,
                    dropout=make_dropout(probability, ndim=ndim, kind=dropout_kind),
                )
            )
            coarse, wide_in = targets[index], widths[index]

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
