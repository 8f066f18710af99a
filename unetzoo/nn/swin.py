"""Stages of shifted-window transformers (Liu et al., "Swin Transformer", ICCV 2021), of timm's blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn

from unetzoo.nn.checkpointing import CheckpointedStage


class SwinStage(CheckpointedStage):
    """Blocks that attend within windows, every second one within shifted windows: (N, H, W, channels) to the same.

    `resolution` is the side that the stage has at the model's own image size: a window is no larger, and where it is
    as large, it is not shifted. Other sides work as well. `drop_path` has the probability of each block.
    """

    def __init__(
        self, channels: int, resolution: int, *, heads: int, window_size: int, drop_path: Sequence[float]
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    channels,
                    (resolution, resolution),
                    num_heads=heads,
                    window_size=window_size,
                    shift_size=window_size // 2 if index % 2 else 0,
                    dynamic_mask=True,
                    drop_path=probability,
                )
                for index, probability in enumerate(drop_path)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        return self.blocks(x)


class PatchExpand(nn.Module):
    """The reverse of patch merging (Cao et al., 2022, section 3.4): (N, H, W, C) to (N, fH, fW, out_channels)."""

    def __init__(self, channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(channels, factor**2 * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expand."""
        x = self.expand(x).unflatten(-1, (self.factor, self.factor, -1))
        return self.norm(x.transpose(2, 3).flatten(3, 4).flatten(1, 2))


def drop_path_rates(highest: float, depths: Sequence[int]) -> list[list[float]]:
    """Return a probability a block, stage by stage, that rises evenly from zero to `highest`.

    >>> drop_path_rates(0.3, [2, 2])
    [[0.0, 0.1], [0.2, 0.3]]
    """
    total = sum(depths)
    rates = [round(highest * block / max(total - 1, 1), 6) for block in range(total)]
    return [rates[sum(depths[:stage]) : sum(depths[: stage + 1])] for stage in range(len(depths))]


def init_weights(module: nn.Module) -> None:
    """Draw the linear layers of `module` from a normal distribution cut at two deviations of 0.02, biases at zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
