"""The decoder with grid attention gates (Oktay et al., "Attention U-Net: Learning where to look", MIDL 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.components.spec import Spec
from unetzoo.decoders.unet import Align, UNetDecoder
from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvNormAct, make_conv
from unetzoo.nn.dropout import DropoutKind
from unetzoo.nn.resampling import interpolate
from unetzoo.nn.typing import BlockFactory, Size


class GridAttentionGate(nn.Module):
    """Scales a skip by coefficients that a coarser gating signal and the skip agree on (figure 2).

    Takes the `skip` (N, channels, *S) and the `gate` (N, gate_channels, *T) of any size; returns (N, channels, *S).
    The skip is brought to a grid `subsample` times coarser, where the gate is interpolated to; the coefficients are
    interpolated back.
    """

    def __init__(self, channels: int, gate_channels: int, *, ndim: int, subsample: Size) -> None:
        super().__init__()
        self.skip = make_conv(channels, channels, ndim=ndim, kernel_size=subsample, stride=subsample, bias=False)
        self.gate = make_conv(gate_channels, channels, ndim=ndim, kernel_size=1)
        self.coefficient = make_conv(channels, 1, ndim=ndim, kernel_size=1)
        self.out = ConvNormAct(channels, channels, ndim=ndim, kernel_size=1, bias=True, activation="none")

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Scale the skip."""
        grid = self.skip(skip)
        agreement = torch.relu(grid + interpolate(self.gate(gate), grid.shape[2:]))
        coefficients = torch.sigmoid(self.coefficient(agreement))
        return self.out(skip * interpolate(coefficients, skip.shape[2:]))


class GridAttentionGates(nn.Module):
    """Several gates side by side, joined by a 1x1 convolution: the same shapes as of one gate."""

    def __init__(self, channels: int, gate_channels: int, *, ndim: int, subsample: Size, count: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            GridAttentionGate(channels, gate_channels, ndim=ndim, subsample=subsample) for _ in range(count)
        )
        self.combine: nn.Module = nn.Identity()
        if count > 1:
            self.combine = ConvNormAct(count * channels, channels, ndim=ndim, kernel_size=1, bias=True)

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Scale the skip."""
        return self.combine(torch.cat([each(skip, gate) for each in self.gates], dim=1))


class GridAttentionDecoder(UNetDecoder):
    """The U-Net's decoder with every skip but the finest gated; concatenates.

    Args:
        channels: channels of the encoder's features, finest first.
        strides: their strides.
        ndim: spatial dimensions.
        gating: which signal gates a skip: `bottom`, the coarsest features for all skips, or `previous`, the decoded
            features one level coarser than the skip (the coarsest features for the first).
        gating_channels: width that the coarsest features are projected to for gating; default: not projected.
        gates: gates for each skip.
        subsample: downsampling factor from a skip to its gate's grid.
        decoder_channels: as of the U-Net's decoder, like the options that follow.
        upsample: see `UNetDecoder`.
        align: see `UNetDecoder`.
        block: see `UNetDecoder`.
        dropout: see `UNetDecoder`.
        dropout_kind: see `UNetDecoder`.

    Raises:
        ConfigError: the encoder has fewer than three levels, so that nothing is gated, or there are no gates.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        gating: Literal["bottom", "previous"] = "previous",
        gating_channels: int | None = None,
        gates: int = 1,
        subsample: Size = 2,
        decoder_channels: Sequence[int] | None = None,
        upsample: Spec = "linear",
        align: Align = "pad",
        block: BlockFactory = DoubleConv,
        dropout: Sequence[float] = (),
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__(
            channels,
            strides,
            ndim=ndim,
            decoder_channels=decoder_channels,
            upsample=upsample,
            align=align,
            block=block,
            dropout=dropout,
            dropout_kind=dropout_kind,
        )
        gated = list(channels[-2:0:-1])
        if not gated or gates < 1:
            raise ConfigError(
                f"{len(channels)} encoder levels and {gates} gates: expected at least 3 levels and a gate"
            )
        self.follow = gating == "previous"
        gating_channels = gating_channels or channels[-1]
        signals = [gating_channels] * len(gated)
        if self.follow:
            signals[1:] = self.channels[::-1][: len(gated) - 1]
        self.gating = ConvNormAct(channels[-1], gating_channels, ndim=ndim, kernel_size=1, bias=True)
        self.gates = nn.ModuleList(
            GridAttentionGates(width, signal, ndim=ndim, subsample=subsample, count=gates)
            for width, signal in zip(gated, signals, strict=True)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per stage, finest first."""
        x, *skips = reversed(features)
        gate = self.gating(x)
        decoded: list[torch.Tensor] = []
        for index, stage in enumerate(self.stages):
            inputs = skips[index : index + 1]
            if index < len(self.gates):
                inputs = [self.gates[index](skips[index], gate)]
            x = stage(x, *inputs)
            gate = x if self.follow else gate
            decoded.insert(0, x)
        return decoded
