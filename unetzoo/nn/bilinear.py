"""Transposed convolutions that start as linear interpolation (Long, Shelhamer and Darrell, CVPR 2015, section 3.3)."""

from __future__ import annotations

import torch


@torch.no_grad()
def bilinear_(weight: torch.Tensor) -> torch.Tensor:
    """Fill the weight (C, C, *kernel) of a transposed convolution so that it interpolates each channel by itself.

    A kernel of 2f with stride f interpolates linearly along every axis; other channels contribute nothing.
    """
    kernel = torch.ones((), dtype=weight.dtype, device=weight.device)
    for length in weight.shape[2:]:
        factor = (length + 1) // 2
        center = factor - 1 if length % 2 else factor - 0.5
        steps = torch.arange(length, dtype=weight.dtype, device=weight.device)
        kernel = kernel[..., None] * (1 - (steps - center).abs() / factor)
    weight.zero_()
    for channel in range(min(weight.shape[:2])):
        weight[channel, channel] = kernel
    return weight
