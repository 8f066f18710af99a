"""Pooling in the Hartley domain (Zhang and Ma, "Hartley spectral pooling", 2018; Rippel et al., NeurIPS 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn import dims
from unetzoo.nn.convolution import make_conv


def hartley(x: torch.Tensor) -> torch.Tensor:
    """Return the discrete Hartley transform of (N, C, *S) over the spatial axes; its own inverse but for 1 / prod(S).

    Hartley's kernel is cos + sin of the same phase, so that real values have a real spectrum: the Fourier
    transform's real part less its imaginary part.
    """
    spectrum = torch.fft.fftn(x, dim=tuple(range(2, x.ndim)))
    return spectrum.real - spectrum.imag


def spectral_pool(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resample (N, C, *S) to (N, C, *size), no larger, by cropping its Hartley spectrum to the lowest frequencies.

    Constant images keep their value. Half-precision values are transformed in single precision.
    """
    spectrum = hartley(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
    for axis, length in enumerate(size, start=2):
        positive, negative = (length + 1) // 2, length // 2
        have = spectrum.shape[axis]
        spectrum = torch.cat(
            [spectrum.narrow(axis, 0, positive), spectrum.narrow(axis, have - negative, negative)], dim=axis
        )
    return (hartley(spectrum) / math.prod(x.shape[2:])).to(x.dtype)


class SpectralPool(nn.Module):
    """Hartley spectral pooling by `factor`: (N, C, *S) to (N, C, *S / factor), rounded down."""

    def __init__(self, factor: Sequence[int]) -> None:
        super().__init__()
        self.factor = tuple(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return spectral_pool(x, [n // f for n, f in zip(x.shape[2:], self.factor, strict=True)])

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"factor={self.factor}"


class HybridPool(nn.Module):
    """Max pooling and spectral pooling, concatenated and brought back to `channels` (Punn and Agarwal, 2020)."""

    def __init__(self, channels: int, factor: Sequence[int], *, ndim: int) -> None:
        super().__init__()
        self.max = dims.max_pool(ndim)(tuple(factor), tuple(factor))
        self.spectral = SpectralPool(factor)
        self.conv = make_conv(2 * channels, channels, ndim=ndim, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return self.conv(torch.cat([self.max(x), self.spectral(x)], dim=1))
