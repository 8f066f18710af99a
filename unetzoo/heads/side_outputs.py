"""Side outputs of every decoded level (Xie and Tu, "HED", ICCV 2015), fused to one map as in U2-Net (figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unetzoo.nn.convolution import make_conv
from unetzoo.nn.resampling import interpolate
from unetzoo.nn.typing import Size


class SideOutputsHead(nn.Module):
    """One convolution to the classes a decoded level, all resized to the image: to (N, num_classes, *size).

    With `fuse` a 1x1 convolution over all side outputs gives the result, and it comes first in the list of logits;
    without, the finest side output is the result. With `deep_supervision` training mode returns the list: the fused
    logits if there are any, then the side outputs, finest first. Side outputs that nothing would use are not built.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        num_classes: int,
        *,
        ndim: int,
        kernel_size: Size = 3,
        fuse: bool = True,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        levels = len(channels) if fuse or deep_supervision else 1
        self.sides = nn.ModuleList(
            make_conv(width, num_classes, ndim=ndim, kernel_size=kernel_size) for width in channels[:levels]
        )
        self.fuse = make_conv(levels * num_classes, num_classes, ndim=ndim, kernel_size=1) if fuse else None

    def forward(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits at `size`; the list of them in training mode with deep supervision."""
        supervised = self.deep_supervision and self.training
        levels = len(self.sides) if self.fuse is not None or supervised else 1
        outputs = [
            interpolate(side(x), size) for side, x in zip(list(self.sides)[:levels], features[:levels], strict=True)
        ]
        if self.fuse is not None:
            outputs.insert(0, self.fuse(torch.cat(outputs, dim=1)))
        return outputs if supervised else outputs[0]
