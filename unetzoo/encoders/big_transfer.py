"""The residual network of Big Transfer (Kolesnikov et al., ECCV 2020) in the form that TransUNet has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import StdConv2d
from torch import nn
from torch.nn import functional as F

from unetzoo.nn.checkpointing import CheckpointedStage

WIDTHS = (256, 512, 1024)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
    return StdConv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, eps=1e-5)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class Bottleneck(CheckpointedStage):
    """Weight-standardized 1x1, 3x3 and 1x1 convolutions: (N, in_channels, H, W) to (N, out_channels, H, W / stride).

    Activated after the sum; where the shape changes, the shortcut is a convolution with one group per channel.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.conv1, self.norm1 = _conv(in_channels, hidden, 1), _norm(hidden)
        self.conv2, self.norm2 = _conv(hidden, hidden, 3, stride), _norm(hidden)
        self.conv3, self.norm3 = _conv(hidden, out_channels, 1), _norm(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _conv(in_channels, out_channels, 1, stride), nn.GroupNorm(out_channels, out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        shortcut = self.shortcut(x)
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return torch.relu(self.norm3(self.conv3(x)) + shortcut)


class BigTransferResNet(nn.Module):
    """Root and three stages: (N, in_channels, H, W), multiples of 16, to features of strides 2, 4, 8 and 16.

    The unpadded pooling behind the root loses a row and a column; the stages work on what is left, and their features
    are padded with zeros at the end, as in the reference.
    """

    def __init__(self, in_channels: int, *, depths: Sequence[int] = (3, 4, 9)) -> None:
        super().__init__()
        self.channels = [64, *WIDTHS]
        self.strides = [2, 4, 8, 16]
        self.root = nn.ModuleDict({"conv": _conv(in_channels, 64, 7, 2), "norm": _norm(64)})
        self.pool = nn.MaxPool2d(3, 2)
        self.stages = nn.ModuleList()
        width = 64
        for stage, (wide, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            blocks = [
                Bottleneck(wide if block else width, wide, 2 if stage and not block else 1) for block in range(depth)
            ]
            self.stages.append(nn.Sequential(*blocks))
            width = wide

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        height, width = x.shape[2:]
        x = torch.relu(self.root["norm"](self.root["conv"](x)))
        features = [x]
        x = self.pool(x)
        for stage, stride in zip(self.stages, self.strides[1:], strict=True):
            x = stage(x)
            features.append(F.pad(x, (0, width // stride - x.shape[3], 0, height // stride - x.shape[2])))
        return features
