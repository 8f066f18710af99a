"""The additive decoder of LinkNet (Chaurasia and Culurciello, "LinkNet", VCIP 2017, figures 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.resampling import fit
from unetzoo.nn.typing import Size


class LinkNetStage(CheckpointedStage):
    """1x1 convolution to a quarter of the channels, transposed 3x3, 1x1 convolution; then the skip is added."""

    def __init__(
        self, in_channels: int, out_channels: int, factor: Size, *, ndim: int, norm: Spec, activation: Spec, bias: bool
    ) -> None:
        super().__init__()
        hidden = in_channels // 4
        kernel = tuple(3 if step <= 3 else step for step in dims.per_axis(factor, ndim))
        options = {"ndim": ndim, "norm": norm, "activation": activation, "bias": bias}
        self.reduce = ConvNormAct(in_channels, hidden, kernel_size=1, **options)  # type: ignore[arg-type]
        self.up = ConvNormAct(hidden, hidden, kernel_size=kernel, stride=factor, transposed=True, **options)  # type: ignore[arg-type]
        self.expand = ConvNormAct(hidden, out_channels, kernel_size=1, **options)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, out_channels, *T) to (N, out_channels, *T)."""
        x = self.expand(self.up(self.reduce(x)))
        return x if skip is None else fit(x, skip.shape[2:]) + skip


class LinkNetDecoder(nn.Module):
    """One stage per level, each added to the encoder's features of its resolution; the last one only upsamples.

    With `pool_stem` the finest features are those of a residual network's stem, before its max pooling: they are
    pooled first, so that every stage is added to the *input* of its encoder block (Chaurasia and Culurciello, figure
    1), and no stage follows. `bias` gives the convolutions a bias before their normalization, as D-LinkNet has it.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        norm: Spec = "batch",
        activation: Spec = "relu",
        bias: bool = True,
        pool_stem: bool = False,
    ) -> None:
        super().__init__()
        if min(channels) < 4:
            raise ConfigError(f"channels {list(channels)}: a LinkNet stage needs at least 4")
        self.pool = dims.max_pool(ndim)(3, 2, padding=1) if pool_stem else nn.Identity()
        if pool_stem:
            strides = [dims.multiply(strides[0], 2, ndim), *strides[1:]]
        finest = dims.per_axis(strides[0], ndim)
        last = tuple(2 if stride % 2 == 0 else 1 for stride in finest)
        output_stride = tuple(stride // step for stride, step in zip(finest, last, strict=True))
        levels = [
            dims.scale_between(coarse, fine, ndim) for coarse, fine in zip(strides[:0:-1], strides[-2::-1], strict=True)
        ]
        targets = list(channels[-2::-1])
        self.strides: list[Size] = list(strides[:-1])
        if not pool_stem:
            targets.append(channels[0])
            levels.append(last)
            self.strides.insert(0, dims.multiply(output_stride, 1, ndim))
        self.channels = targets[::-1]
        self.stages = nn.ModuleList(
            LinkNetStage(wide_in, wide_out, factor, ndim=ndim, norm=norm, activation=activation, bias=bias)
            for wide_in, wide_out, factor in zip([channels[-1], *targets[:-1]], targets, levels, strict=True)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per stage, finest first."""
        x, *skips = reversed([self.pool(features[0]), *features[1:]])
        decoded: list[torch.Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(x, skips[index]) if index < len(skips) else stage(x)
            decoded.insert(0, x)
        return decoded
