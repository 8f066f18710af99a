"""Normalization of images: to the statistics of each image, or by fixed means and deviations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unetzoo.errors import InputError
from unetzoo.training.data.config import DataConfig, MeanStd

IMAGENET = MeanStd(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


class Normalize(nn.Module):
    """Takes off a mean of each channel and divides by a deviation: (N, C, *spatial) to the same.

    Raises `InputError` for images of another number of channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalize a batch."""
        if image.shape[1] != len(self.mean):
            raise InputError(
                f"normalization for {len(self.mean)} channels got images of {image.shape[1]}; "
                "set `normalize` to one mean and deviation a channel, or `channels`"
            )
        shape = (1, -1, *[1] * (image.ndim - 2))
        return (image - self.mean.view(shape)) / self.std.view(shape)


class Standardize(nn.Module):
    """Brings each image of a batch (N, C, *spatial) to zero mean and unit deviation over its channels and pixels."""

    def forward(self, image: Tensor) -> Tensor:
        """Standardize a batch; an image of one value becomes zero."""
        axes = tuple(range(1, image.ndim))
        centered = image - image.mean(axes, keepdim=True)
        # What rounding leaves of a flat image must not be blown up.
        least = 1e-5 * image.abs().amax(axes, keepdim=True).clamp_min(1e-30)
        return centered / centered.square().mean(axes, keepdim=True).sqrt().clamp_min(least)


def normalization(config: DataConfig) -> nn.Module:
    """What turns images as read into what a network sees; for `image`, of whole images only."""
    if config.normalize == "image":
        return Standardize()
    if config.normalize == "none":
        return nn.Identity()
    fixed = IMAGENET if config.normalize == "imagenet" else config.normalize
    return Normalize(fixed.mean, fixed.std)
