"""The head of fully convolutional networks (Long, Shelhamer and Darrell, CVPR 2015, section 4.2 and figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.bilinear import bilinear_
from unetzoo.nn.convolution import make_conv
from unetzoo.nn.typing import Size


class FCNHead(nn.Module):
    """Scores of the coarsest levels, upsampled and summed from coarse to fine: to (N, num_classes, *size).

    Each of the `levels` coarsest features is scored by a 1x1 convolution; transposed convolutions, which start as
    bilinear interpolation, bring the sum to the next level and at last to the image.

    `offsets` says where in each finer level's scores, and at last in the upsampled result, the part begins that
    belongs to the coarser one: one number a transposed convolution. They follow from the border that the encoder put
    around the image; without one (the default) the levels are aligned and half a factor is cropped. `scales`, coarsest
    first, multiply the features before they are scored (the "at once" training of Shelhamer et al., TPAMI 2017).

    Raises `ConfigError` where there are fewer features than `levels`, or offsets or scales for another number.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        levels: int = 3,
        offsets: Sequence[int] | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= len(channels):
            raise ConfigError(f"levels is {levels}; expected 1 to {len(channels)}, the features that there are")
        if any(given is not None and len(given) != levels for given in (offsets, scales)):
            raise ConfigError(f"offsets {offsets} and scales {scales}: expected {levels} of each, one per level")
        self.offsets = offsets
        self.scales = list(scales or [1.0] * levels)
        coarse_to_fine = list(strides[::-1][:levels])
        targets = [*coarse_to_fine[1:], 1]
        self.factors = [dims.scale_between(a, b, ndim) for a, b in zip(coarse_to_fine, targets, strict=True)]
        self.scores = nn.ModuleList(
            make_conv(width, num_classes, ndim=ndim, kernel_size=1) for width in channels[::-1][:levels]
        )
        self.ups = nn.ModuleList()
        for factor in self.factors:
            kernel = tuple(2 * step if step > 1 else 1 for step in factor)
            up = dims.conv_transpose(ndim)(num_classes, num_classes, kernel, factor, bias=False)
            bilinear_(up.get_parameter("weight"))
            self.ups.append(up)

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Return logits at `size`."""
        scored = [
            score(scale * x) if scale != 1 else score(x)
            for score, scale, x in zip(self.scores, self.scales, reversed(features[-len(self.scores) :]), strict=True)
        ]
        x, *finer = scored
        for index, up in enumerate(self.ups):
            x = up(x)
            last = index == len(self.ups) - 1
            if self.offsets is None:
                x = _window(x, [step // 2 for step in self.factors[index]], size if last else finer[index].shape[2:])
                x = x if last else x + finer[index]
            elif last:
                x = _window(x, [self.offsets[index]] * len(size), size)
            else:
                x = x + _window(finer[index], [self.offsets[index]] * len(size), x.shape[2:])
        return x


def _window(x: torch.Tensor, start: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Crop (N, C, *S) to `size` from `start` on; what is short, by less than a factor, becomes zero at the end."""
    for axis, (first, want) in enumerate(zip(start, size, strict=True), start=2):
        x = x.narrow(axis, first, x.shape[axis] - first)
        missing = want - x.shape[axis]
        pads = [0, 0] * (x.ndim - 1 - axis) + [0, missing]
        x = nn.functional.pad(x, pads)
    return x
