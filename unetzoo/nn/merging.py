"""Merging a decoder's tensor with the skip connection: concatenation, addition, attention gate, or none."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.spec import split_spec
from unetzoo.nn.typing import Spec

MERGES = ("concat", "add", "attention", "none")


class AttentionGate(nn.Module):
    """Additive attention gate (Oktay et al., "Attention U-Net", MIDL 2018, figure 2) at equal resolution.

    Takes the decoder's tensor `gate` (N, gate_channels, *S) and the `skip` (N, skip_channels, *S); returns the skip
    scaled by one coefficient a position. Follows the widely used form that gates at the skip's resolution with
    batch-normalized projections instead of the paper's strided one.
    """

    def __init__(
        self,
        gate_channels: int,
        skip_channels: int,
        *,
        ndim: int,
        hidden: int | None = None,
        norm: Spec = "batch",
    ) -> None:
        super().__init__()
        hidden = hidden or max(skip_channels // 2, 1)
        projection = {"ndim": ndim, "kernel_size": 1, "bias": True, "norm": norm}
        self.gate = ConvNormAct(gate_channels, hidden, activation="none", **projection)  # type: ignore[arg-type]
        self.skip = ConvNormAct(skip_channels, hidden, activation="none", **projection)  # type: ignore[arg-type]
        self.coefficient = ConvNormAct(hidden, 1, activation="sigmoid", **projection)  # type: ignore[arg-type]

    def forward(self, gate: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Scale the skip."""
        return skip * self.coefficient(torch.relu(self.gate(gate) + self.skip(skip)))


class Merge(nn.Module):
    """Merges `x` (N, in_channels, *S) with `skip` (N, skip_channels, *S); `out_channels` tells what comes out.

    `concat` and `attention` take `skip_first` (True: the skip's channels come before the upsampled ones);
    `attention` takes `hidden`, the width of its gate (half the skip's unless told), and `norm`. `add` needs equal
    channels. `none` ignores the skip. Raises `ConfigError` for what does not fit.
    """

    def __init__(self, spec: Spec, in_channels: int, skip_channels: int, *, ndim: int) -> None:
        super().__init__()
        self.name, options = split_spec(spec, "skip merge", MERGES)
        self.skip_first = bool(options.pop("skip_first", True)) if self.name in ("concat", "attention") else True
        if self.name == "add" and in_channels != skip_channels:
            raise ConfigError(
                f"skip 'add' needs equal channels: the decoder has {in_channels}, the skip {skip_channels}"
            )
        if self.name == "attention":
            gate = {key: options.pop(key) for key in ("hidden", "norm") if key in options}
            self.attention = AttentionGate(in_channels, skip_channels, ndim=ndim, **gate)  # type: ignore[arg-type]
        if options:
            raise ConfigError(f"skip merge {self.name!r} does not take the options {', '.join(options)}")
        self.out_channels = in_channels if self.name in ("add", "none") else in_channels + skip_channels

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Merge."""
        if self.name == "none":
            return x
        if self.name == "add":
            return x + skip
        if self.name == "attention":
            skip = self.attention(x, skip)
        return torch.cat([skip, x] if self.skip_first else [x, skip], dim=1)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.name!r}, skip_first={self.skip_first}"
