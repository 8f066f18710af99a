"""The encoder of Swin-Unet (Cao et al., "Swin-Unet", ECCV Workshops 2022, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.models.swin_transformer import PatchMerging
from torch import nn

from unetzoo.nn import dims
from unetzoo.nn.resampling import fit, interpolate
from unetzoo.nn.swin import SwinStage, drop_path_rates, init_weights


class SwinEncoder(nn.Module):
    """Patch embedding and stages of a shifted-window transformer: (N, in_channels, H, W) to features, finest first.

    The features of a level are what goes *into* its stage; those of the coarsest are its output, normalized. Their
    strides are 4, 8, 16 and so on. Images are padded with zeros around to a multiple of the last one. A single channel
    is repeated three times.

    Args:
        in_channels: channels of the image.
        image_size: side of the images that windows and position embeddings are for.
        window_size: side of the windows, in patches.
        embed_dim: width of the first stage; each further one has twice that of the one before.
        depths: number of blocks of each stage.
        heads: attention heads of each stage.
        absolute_position: whether position embeddings are added to the patches.
        drop_path: probability of leaving the last block out in training; it rises evenly to that.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        image_size: int,
        window_size: int,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        absolute_position: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.repeats = 3 if in_channels == 1 else 1
        self.channels = [embed_dim * 2**stage for stage in range(len(depths))]
        self.strides = [4 * 2**stage for stage in range(len(depths))]
        self.grid = image_size // 4
        self.embed = nn.Conv2d(in_channels * self.repeats, embed_dim, 4, 4)
        self.embed_norm = nn.LayerNorm(embed_dim)
        self.position = nn.Parameter(torch.zeros(1, self.grid**2, embed_dim)) if absolute_position else None
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)
        self.stages = nn.ModuleList(
            SwinStage(channels, image_size // stride, heads=count, window_size=window_size, drop_path=rates)
            for channels, stride, count, rates in zip(
                self.channels, self.strides, heads, drop_path_rates(drop_path, depths), strict=True
            )
        )
        self.merges = nn.ModuleList(PatchMerging(channels) for channels in self.channels[:-1])
        self.norm = nn.LayerNorm(self.channels[-1])
        init_weights(self)

    def no_weight_decay(self) -> set[str]:
        """Return the position embedding."""
        return {"position"}

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        coarsest = self.strides[-1]
        x = fit(x, [dims.round_up(length, coarsest) for length in x.shape[2:]])
        x = x.repeat(1, self.repeats, 1, 1) if self.repeats > 1 else x
        x = self.embed_norm(self.embed(x).movedim(1, -1))
        if self.position is not None:
            position = interpolate(self.position.mT.unflatten(-1, (self.grid, self.grid)), x.shape[1:3])
            x = x + position.movedim(1, -1)
        features = []
        for stage, merge in zip(self.stages, self.merges, strict=False):
            features.append(x.movedim(-1, 1))
            x = merge(stage(x))
        return [*features, self.norm(self.stages[-1](x)).movedim(-1, 1)]
