"""Augmentation of batches on their own device: images and labels in, the same shapes out."""

from __future__ import annotations

import math

import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_gamma, adjust_hue, adjust_saturation
from torch import Tensor, nn

from unetzoo.errors import ConfigError, InputError
from unetzoo.training.augmentation.config import AugmentationConfig, Color
from unetzoo.training.augmentation.warp import Warp

AXES = ("width", "height", "depth")


class Augmentation(nn.Module):
    """Mirrors, turns and deforms images (N, C, *spatial) with their labels (N, *spatial), and changes the colors.

    Each image is varied in its own way. Everything is drawn from torch's generator of the CPU, so that a seed gives
    the same on every device; only noise is drawn where the batch is.
    """

    def __init__(self, config: AugmentationConfig, ndim: int, ignore_index: int, *, unit_range: bool) -> None:
        super().__init__()
        self.config = config
        self.ndim = ndim
        self.unit_range = unit_range
        self.warp = None
        if config.affine is not None or config.elastic is not None:
            self.warp = Warp(config.affine, config.elastic, ignore_index)

    @torch.no_grad()
    def forward(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Vary a batch; raises `InputError` where image and target do not fit together."""
        if image.ndim != self.ndim + 2 or target.shape != (image.shape[0], *image.shape[2:]):
            raise InputError(
                f"augmentation in {self.ndim}-D takes images (N, C, *spatial) and labels (N, *spatial), "
                f"got {tuple(image.shape)} and {tuple(target.shape)}"
            )
        for name in self.config.flip:
            axis = -1 - AXES.index(name)
            image, target = _some(image, target, image.flip(axis), target.flip(axis))
        if self.config.turn:
            if image.shape[-1] != image.shape[-2]:
                raise InputError(f"only square crops can be turned, got {tuple(image.shape[-2:])}")
            # With mirroring along both axes, exchanging them makes all quarter turns.
            for axis in (-1, -2):
                image, target = _some(image, target, image.flip(axis), target.flip(axis))
            image, target = _some(image, target, image.transpose(-1, -2), target.transpose(-1, -2))
        if self.warp is not None:
            image, target = self.warp(image, target)
        if self.config.color is not None:
            image = change_colors(image, self.config.color, clip=self.unit_range)
        return image, target


def make_augmentation(config: AugmentationConfig, ndim: int, ignore_index: int, *, unit_range: bool) -> Augmentation:
    """The augmentation of a config.

    Args:
        config: what is varied.
        ndim: spatial axes, 2 or 3.
        ignore_index: label of the pixels that a deformation invents.
        unit_range: whether images lie in 0 to 1, and are to stay there.

    Raises `ConfigError` for what does not apply to such images.
    """
    affine, color = config.affine, config.color
    if ndim == 2 and "depth" in config.flip:
        raise ConfigError("augment.flip: pictures have no depth; expected height or width")
    if affine is not None and isinstance(affine.degrees, list) and len(affine.degrees) != (3 if ndim == 3 else 1):
        raise ConfigError(f"augment.affine.degrees: {len(affine.degrees)} angles for {ndim}-D images; give one")
    if affine is not None and ndim == 3 and affine.shear:
        raise ConfigError("augment.affine.shear: is for pictures, not for volumes")
    if color is not None and not unit_range and (color.gamma or color.saturation or color.hue):
        raise ConfigError(
            "augment.color: gamma, saturation and hue need images in 0 to 1, which volumes are not, and pictures "
            "with `normalize: image` neither; use brightness, contrast and noise, or another normalization"
        )
    return Augmentation(config, ndim, ignore_index, unit_range=unit_range)


def change_colors(image: Tensor, color: Color, *, clip: bool) -> Tensor:
    """Change intensity and color of images (N, C, *spatial), each in its own way; `clip` keeps them in 0 to 1.

    Raises `InputError` where saturation or hue is to change in images of other than three channels.
    """
    count, channels = image.shape[:2]
    if (color.saturation or color.hue) and channels != 3:
        raise InputError(f"saturation and hue are of images with 3 channels, got {channels}")
    chosen = (torch.rand(count) < color.probability).float()

    def draw(largest: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * largest * chosen

    if color.brightness:
        image = adjust_brightness(image, draw(color.brightness), clip_output=clip)
    if color.contrast:
        image = adjust_contrast(image, 1 + draw(color.contrast), clip_output=clip)
    if color.gamma:
        image = adjust_gamma(image, 1 + draw(color.gamma))
    if color.saturation:
        image = adjust_saturation(image, 1 + draw(color.saturation))
    if color.hue:
        image = adjust_hue(image, draw(color.hue) * 2 * math.pi)
    if color.noise:
        deviation = draw(color.noise).abs().to(image).reshape(-1, *[1] * (image.ndim - 1))
        image = image + torch.randn_like(image) * deviation
        image = image.clamp(0, 1) if clip else image
    return image


def _some(image: Tensor, target: Tensor, other_image: Tensor, other_target: Tensor) -> tuple[Tensor, Tensor]:
    """Image and target of each sample, or the other ones, at even odds."""
    chosen = (torch.rand(len(image)) < 0.5).to(image.device)
    return (
        torch.where(chosen.reshape(-1, *[1] * (image.ndim - 1)), other_image, image),
        torch.where(chosen.reshape(-1, *[1] * (target.ndim - 1)), other_target, target),
    )
