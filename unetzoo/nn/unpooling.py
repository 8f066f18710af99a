"""Max unpooling: values go back to where the maxima were (Zeiler and Fergus, ECCV 2014, section 2.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from unetzoo.nn.resampling import fit


def max_unpool_like(x: torch.Tensor, features: torch.Tensor, factor: Sequence[int]) -> torch.Tensor:
    """Put the values of (N, C, *S) to where `features` (N, C, *S * factor) have the maximum of their window.

    The other positions become zero. No gradient reaches `features`: only places are taken from them. A scatter
    instead of torch's own unpooling, which cannot be exported.
    """
    pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
    window = tuple(factor)
    _, places = pool(features, window, window, ceil_mode=True, return_indices=True)
    values = fit(x, places.shape[2:])
    size = features.shape[2:]
    flat = x.new_zeros(*x.shape[:2], math.prod(size))
    return flat.scatter(2, places.flatten(2), values.flatten(2)).view(*x.shape[:2], *size)
