"""The expanding path with skip connections (Ronneberger et al., "U-Net", MICCAI 2015, figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.blocks.making import level_options, make_block
from unetzoo.components.spec import Spec, name_of
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.dropout import DropoutKind, last_levels, make_dropout
from unetzoo.nn.merging import Merge
from unetzoo.nn.resampling import Upsample, center_crop, fit, interpolate
from unetzoo.nn.typing import BlockFactory, Size

Align = Literal["pad", "resize", "crop"]


class DecoderStage(CheckpointedStage):
    """Upsampling to `up_channels`, merging with the skip if there is one, blocks and dropout.

    `skip_path` is the module that the skip passes, and `skip_channels` its output width.
    """

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
        block_options: Mapping[str, object] | None = None,
        depth: int = 1,
        skip_path: nn.Module | None = None,
        dropout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.align = align
        block_options = block_options or {}
        merged = up_channels
        if name_of(upsample) == "block":
            self.up = make_block(
                block, in_channels, up_channels, ndim=ndim, stride=factor, transposed=True, options=block_options
            )
        else:
            self.up = Upsample(upsample, in_channels, up_channels, factor, ndim=ndim)
            merged = self.up.out_channels
        self.skip_path = skip_path or nn.Identity()
        if skip_channels is not None:
            self.merge = Merge(skip, merged, skip_channels, ndim=ndim)
            merged = self.merge.out_channels
        blocks = [
            make_block(block, width, out_channels, ndim=ndim, options=block_options)
            for width in [merged, *[out_channels] * (depth - 1)]
        ]
        self.block = blocks[0] if depth == 1 else nn.Sequential(*blocks)
        self.drop = dropout or nn.Identity()

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, skip_channels, *T) to (N, out_channels, *T)."""
        if skip is None:
            x = self.up(x)
        else:
            skip = self.skip_path(skip)
            x = self.merge(*self._aligned(x, skip))
        return self.drop(self.block(x))

    def _aligned(self, x: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Upsample `x`, and give it and the skip the same size."""
        size = skip.shape[2:]
        if self.align == "resize":
            x = self.up(x, size) if isinstance(self.up, Upsample) else self.up(x)
            return interpolate(x, size, mode="nearest"), skip
        x = self.up(x)
        return (x, center_crop(skip, x.shape[2:])) if self.align == "crop" else (fit(x, size), skip)


class UNetDecoder(nn.Module):
    """One stage a skip, from the coarsest level to the finest, then stages without a skip up to full resolution.

    Args:
        channels: channels of the encoder's features, finest first.
        strides: their strides.
        ndim: spatial dimensions.
        decoder_channels: channels that each stage gives, coarsest first; by default those of its skip, halved for
            each further stage.
        up_channels: channels that each stage upsamples to, where a convolution goes with it; default:
            `decoder_channels`.
        upsample: `deconv`, `linear` or `nearest`, with their options; `block`: the block itself, transposed.
        skip: `concat`, `add`, `attention` or `none`, with their options; or one of them for each skip, coarsest
            first.
        align: what happens where the upsampled tensor and its skip differ in size (odd sizes, unpadded
            convolutions): `pad` pads it with zeros, `resize` interpolates straight to the skip's size (the result of
            a transposed convolution or a block by the nearest neighbor), `crop` crops the skip around its center.
        block: block of every stage.
        per_level: options of the block that differ between the stages, one value for each, coarsest first.
        depths: number of blocks of each stage; default: one.
        skip_block: block that each skip passes on its way.
        skip_channels: output channels of these blocks, coarsest first; default: the skips' own.
        skip_per_level: options of the skips' blocks, as `per_level`.
        keep_bottom: whether the coarsest features are handed on as well, behind the decoded ones.
        dropout: probabilities behind the last stages, the finest last.
        dropout_kind: `channel` or `element`.

    Raises:
        ConfigError: the number of `decoder_channels`, `up_channels`, `depths` or skips is not that of the stages, or a
            block does not take what it is given.
    """

    stage_class: type[DecoderStage] = DecoderStage

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
        per_level: Mapping[str, Sequence[object]] | None = None,
        depths: Sequence[int] | None = None,
        skip_block: BlockFactory | None = None,
        skip_channels: Sequence[int] | None = None,
        skip_per_level: Mapping[str, Sequence[object]] | None = None,
        keep_bottom: bool = False,
        dropout: Sequence[float] = (),
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        targets = list(strides[-2::-1]) + _further_strides(strides[0], ndim)
        skips = list(channels[-2::-1])
        widths = list(decoder_channels or _default_widths(skips or [channels[0]], len(targets)))
        merges = [skip] * len(skips) if isinstance(skip, str | Mapping) else list(skip)
        ups = list(up_channels or widths)
        numbers = list(depths or [1] * len(targets))
        if {len(widths), len(ups), len(numbers)} != {len(targets)} or min(numbers, default=1) < 1:
            raise ConfigError(
                f"{len(widths)} decoder_channels, {len(ups)} up_channels and depths {numbers}: expected {len(targets)} "
                f"numbers from 1, one for each of the strides {targets}"
            )
        if len(merges) != len(skips):
            raise ConfigError(f"{len(merges)} skip merges: expected one, or one for each of the {len(skips)} skips")
        paths = _skip_paths(skip_block, skips, skip_channels, skip_per_level, ndim)
        skips = list(skip_channels or skips)
        options = level_options(per_level, len(targets))
        self.keep_bottom = keep_bottom
        self.channels = [*widths[::-1], channels[-1]] if keep_bottom else widths[::-1]
        self.strides = [*targets[::-1], strides[-1]] if keep_bottom else targets[::-1]
        coarse, wide_in = strides[-1], channels[-1]
        self.stages = nn.ModuleList()
        for index, probability in enumerate(last_levels(dropout, len(targets))):
            self.stages.append(
                self.stage_class(
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
                    block_options=options[index],
                    depth=numbers[index],
                    skip_path=paths[index] if index < len(skips) else nn.Identity(),
                    dropout=make_dropout(probability, ndim=ndim, kind=dropout_kind),
                )
            )
            coarse, wide_in = targets[index], widths[index]

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per stage, finest first."""
        x, *skips = reversed(features)
        decoded: list[torch.Tensor] = [x] if self.keep_bottom else []
        for index, stage in enumerate(self.stages):
            x = stage(x, skips[index]) if index < len(skips) else stage(x)
            decoded.insert(0, x)
        return decoded


def _skip_paths(
    block: BlockFactory | None,
    skips: Sequence[int],
    out_channels: Sequence[int] | None,
    per_level: Mapping[str, Sequence[object]] | None,
    ndim: int,
) -> list[nn.Module]:
    """What each skip passes, coarsest first."""
    if block is None:
        if out_channels or per_level:
            raise ConfigError("skip_channels and skip_per_level go with a skip_block; none is given")
        return [nn.Identity() for _ in skips]
    targets = out_channels or skips
    if len(targets) != len(skips):
        raise ConfigError(f"{len(targets)} skip_channels: expected {len(skips)}, one for each skip")
    options = level_options(per_level, len(skips))
    return [
        make_block(block, wide_in, wide_out, ndim=ndim, options=own)
        for wide_in, wide_out, own in zip(skips, targets, options, strict=True)
    ]


def _further_strides(finest: Size, ndim: int) -> list[Size]:
    """Strides of the stages that halve `finest`, along each axis where that goes, as often as it goes.

    >>> _further_strides(4, 2), _further_strides((1, 4, 2), 3)
    ([2, 1], [(1, 2, 1), 1])
    """
    strides: list[Size] = []
    steps = dims.per_axis(finest, ndim)
    while any(step % 2 == 0 for step in steps):
        steps = tuple(step // 2 if step % 2 == 0 else step for step in steps)
        strides.append(steps[0] if len(set(steps)) == 1 else steps)
    return strides


def _default_widths(skips: Sequence[int], stages: int) -> list[int]:
    widths = list(skips[:stages])
    while len(widths) < stages:
        widths.append(max(widths[-1] // 2, 16))
    return widths
