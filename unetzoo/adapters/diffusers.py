"""The U-Net of denoising diffusion (Ho et al., NeurIPS 2020) from diffusers, for segmentation and as itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from unetzoo.adapters.wrapping import WrappedModel, import_library
from unetzoo.components.binding import call
from unetzoo.preprocessing import Preprocessing, usual_order


class DiffusersUNet(WrappedModel):
    """`diffusers.UNet2DModel` as `self.unet`: (N, in_channels, H, W) to (N, num_classes, H, W), any size.

    `model(x)` segments, at the time step it was created with; `model(x, timestep)` predicts the noise of a diffusion
    model with as many classes as channels. `model.unet` saves, loads and is sampled from with diffusers' own tools.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the output.
        block_out_channels: channels of each level, finest first.
        attention_from: the first level with attention.
        depth: residual blocks per level, diffusers' `layers_per_block`.
        timestep: the time step of a forward pass that is not given one.
        norm_num_groups: groups of the normalization, lowered to what divides all channels, with two or more a group.
        **options: what else `diffusers.UNet2DModel` takes.

    Raises:
        ConfigError: an unknown option, or one that diffusers refuses.
        PluginError: diffusers is not installed.
    """

    unet: Any  # a diffusers.UNet2DModel, whose class is there only if diffusers is

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        block_out_channels: Sequence[int] = (64, 128, 128, 256),
        attention_from: int = 2,
        depth: int = 2,
        timestep: int = 0,
        norm_num_groups: int = 32,
        **options: Any,
    ) -> None:
        library = import_library("diffusers", extra="diffusion", wanted_for="diffusers_unet2d")
        widths = tuple(block_out_channels)
        attends = [level >= attention_from for level in range(len(widths))]
        given = {
            "in_channels": in_channels,
            "out_channels": num_classes,
            "block_out_channels": widths,
            "layers_per_block": depth,
            "down_block_types": tuple("AttnDownBlock2D" if attention else "DownBlock2D" for attention in attends),
            "up_block_types": tuple("AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)),
            # At least two channels per group: alone in its group, a channel loses what the time step adds to it.
            "norm_num_groups": math.gcd(norm_num_groups, *widths, *(width // 2 for width in widths)),
        }
        super().__init__(in_channels=in_channels, num_classes=num_classes, ndim=2, divisor=2 ** (len(widths) - 1))
        self.unet = call(library.UNet2DModel, {**given, **options}, name="'diffusers_unet2d'", foreign=True)
        self.timestep = timestep
        self.preprocessing = Preprocessing(channels=usual_order(in_channels), input_range=(-1.0, 1.0))

    def forward(self, x: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits, or with a time step (one for all samples, or (N,)) the predicted noise, of x's size."""
        self.check_input(x)
        step = self.timestep if timestep is None else timestep
        if not isinstance(step, torch.Tensor):  # diffusers would make it on the CPU, and the device wait for it
            step = torch.full((1,), step, device=x.device)
        return self._restore(self.unet(self._prepare(x), step, return_dict=False)[0], x.shape[2:])

    def _replace_head(self, num_classes: int) -> None:
        """Replace the last convolution."""
        old = self.unet.conv_out
        fresh = nn.Conv2d(old.in_channels, num_classes, old.kernel_size, padding=old.padding)
        self.unet.conv_out = fresh.to(old.weight.device, old.weight.dtype).train(self.training)
        self.unet.register_to_config(out_channels=num_classes)

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        """Turn diffusers' own checkpointing on or off."""
        if enable:
            self.unet.enable_gradient_checkpointing()
        else:
            self.unet.disable_gradient_checkpointing()
