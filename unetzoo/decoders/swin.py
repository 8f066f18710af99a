"""The decoder of Swin-Unet (Cao et al., "Swin-Unet", ECCV Workshops 2022, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn.swin import PatchExpand, SwinStage, drop_path_rates, init_weights


class SwinDecoder(nn.Module):
    """Patch expansion, fusion with the skip and a stage of window attention per level, then expansion to the image.

    Takes the features of `SwinEncoder` and gives those of full resolution alone. The arguments are the encoder's;
    the blocks of a level are as many as on the way down.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        image_size: int,
        window_size: int,
        depths: Sequence[int],
        heads: Sequence[int],
        drop_path: float,
    ) -> None:
        super().__init__()
        self.channels = [channels[0]]
        self.strides = [1]
        rates = drop_path_rates(drop_path, depths)
        levels = range(len(channels) - 2, -1, -1)
        self.expands = nn.ModuleList(PatchExpand(channels[level + 1], channels[level], 2) for level in levels)
        self.fuse = nn.ModuleList(nn.Linear(2 * channels[level], channels[level]) for level in levels)
        self.stages = nn.ModuleList(
            SwinStage(
                channels[level],
                image_size // strides[level],
                heads=heads[level],
                window_size=window_size,
                drop_path=rates[level],
            )
            for level in levels
        )
        self.norm = nn.LayerNorm(channels[0])
        self.expands.append(PatchExpand(channels[0], channels[0], strides[0]))
        init_weights(self)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the decoded features of full resolution."""
        x, *skips = (feature.movedim(1, -1) for feature in reversed(features))
        *expands, last = self.expands
        for expand, fuse, stage, skip in zip(expands, self.fuse, self.stages, skips, strict=True):
            x = stage(fuse(torch.cat([expand(x), skip], dim=-1)))
        return [last(self.norm(x)).movedim(-1, 1)]
