"""Merging a decoder's tensor with the skip connection: concatenation, addition, attention gate, or none."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import ConvNormAct

Count = Annotated[int, Field(ge=1)]


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


# Whether the skip comes first, and the gate that it passes.
_Merging = tuple[bool, AttentionGate | None]


def _concat(in_channels: int, skip_channels: int, *, ndim: int, skip_first: bool = True) -> _Merging:
    return skip_first, None


def _add(in_channels: int, skip_channels: int, *, ndim: int) -> _Merging:
    if in_channels != skip_channels:
        raise ConfigError(f"skip 'add' needs equal channels: the decoder has {in_channels}, the skip {skip_channels}")
    return True, None


def _attention(
    in_channels: int,
    skip_channels: int,
    *,
    ndim: int,
    skip_first: bool = True,
    hidden: Count | None = None,
    norm: Spec = "batch",
) -> _Merging:
    return skip_first, AttentionGate(in_channels, skip_channels, ndim=ndim, hidden=hidden, norm=norm)


def _none(in_channels: int, skip_channels: int, *, ndim: int) -> _Merging:
    return True, None


MERGES = Table("skip merge", {"concat": _concat, "add": _add, "attention": _attention, "none": _none})


class Merge(nn.Module):
    """Merges `x` (N, in_channels, *S) with `skip` (N, skip_channels, *S); `out_channels` is the width of the result.

    `concat` and `attention` take `skip_first` (True: the skip's channels come before the upsampled ones);
    `attention` takes `hidden`, the width of its gate (default: half the skip's), and `norm`. `add` needs equal
    channels. `none` ignores the skip. Raises `ConfigError` for what does not fit.
    """

    def __init__(self, spec: Spec, in_channels: int, skip_channels: int, *, ndim: int) -> None:
        super().__init__()
        self.name, _, _ = MERGES.find(spec)
        self.skip_first, attention = MERGES.make(spec, in_channels, skip_channels, ndim=ndim)
        if attention is not None:
            self.attention = attention
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
