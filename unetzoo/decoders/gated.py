"""The decoder of ResUNet++ (Jha et al., "ResUNet++", IEEE ISM 2019, section III and figure 2)."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.decoders.unet import DecoderStage, UNetDecoder
from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.resampling import interpolate
from unetzoo.nn.typing import Size


class PooledAttention(nn.Module):
    """Weighs the positions of the decoder's tensor computed from it and the pooled skip.

    (N, channels, *S) and (N, skip_channels, *T) to (N, channels, *S), T being `factor` times S. The weight is not
    squashed, as in the reference code.
    """

    def __init__(self, channels: int, skip_channels: int, factor: Size, *, ndim: int) -> None:
        super().__init__()
        step = dims.per_axis(factor, ndim)

        def conv(wide_in: int, wide_out: int, kernel_size: int) -> ConvNormAct:
            return ConvNormAct(wide_in, wide_out, ndim=ndim, kernel_size=kernel_size, bias=True, order="nac")

        self.skip = conv(skip_channels, channels, 3)
        self.pool = dims.max_pool(ndim)(step, step, ceil_mode=True)
        self.gate = conv(channels, channels, 3)
        self.weight = conv(channels, 1, 1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Weigh the positions of `x`."""
        pooled = interpolate(self.pool(self.skip(skip)), x.shape[2:])
        return x * self.weight(self.gate(x) + pooled)


class GatedStage(DecoderStage):
    """A U-Net stage whose input is weighed by a `PooledAttention` before it is upsampled."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int | None,
        out_channels: int,
        factor: Size,
        *,
        ndim: int,
        **options: object,
    ) -> None:
        super().__init__(in_channels, skip_channels, out_channels, factor, ndim=ndim, **options)  # type: ignore[arg-type]
        if skip_channels is not None:
            self.attention = PooledAttention(in_channels, skip_channels, factor, ndim=ndim)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Run the stage: (N, in_channels, *S) and (N, skip_channels, *T) to (N, out_channels, *T)."""
        return super().forward(x if skip is None else self.attention(x, skip), skip)


class GatedDecoder(UNetDecoder):
    """A U-Net decoder in which the skip gates the coarser tensor; the options are those of `UNetDecoder`."""

    stage_class = GatedStage
