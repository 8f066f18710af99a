"""Networks that go wrong at sizes that do not divide."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_axis_symmetry", because=r"transposed image of .* differs")
class RollsOddWidth(SmallUNet):
    """Takes its skips from one pixel to the left where their width is odd."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, skip.roll(1, -1) if skip.shape[-1] % 2 else skip, index)


@planted("check_axis_symmetry", because=r"transposed image of .* differs")
class AlignsCornersAtOddWidth(SmallUNet):
    """Upsamples with aligned corners where the width is odd, half a pixel off the other widths."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        aligned = skip.shape[-1] % 2 == 1
        return torch.cat([F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=aligned), skip], dim=1)


@planted("check_axis_symmetry", because=r"differs from the transposed one by inf")
class RefusesOddWidth(SmallUNet):
    """Works at odd heights, but not at odd widths."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            raise ValueError("odd width")
        return super().forward(x)


@planted("check_axis_symmetry", because=r"transposed image of .* differs")
class SqueezesIntoSquares(SmallUNet):
    """Resizes the image to its height along both axes, and the logits back."""

    def forward(self, x: Tensor) -> Tensor:
        square = F.interpolate(x, size=(x.shape[2], x.shape[2]), mode="nearest")
        return F.interpolate(super().forward(square), size=x.shape[2:], mode="nearest")


@planted("check_border_pixels", because=r"outputs \[\d+\] are the same for every image")
class PadsLogitsAtOddWidth(SmallUNet):
    """Leaves out the last column where there is an odd number, and pads the logits with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        odd = x.shape[-1] % 2 and x.shape[-1] > 8
        return F.pad(super().forward(x[..., :-1] + x.mean()), (0, 1)) if odd else super().forward(x)


@planted("check_border_pixels", because=r"pixels \[\d+\] have no influence")
class RepeatsLastRow(SmallUNet):
    """Leaves out the last row where there is an odd number, and repeats the logits of the one before."""

    def forward(self, x: Tensor) -> Tensor:
        odd = x.shape[2] % 2 and x.shape[2] > 8
        return F.pad(super().forward(x[:, :, :-1]), (0, 0, 0, 1), mode="replicate") if odd else super().forward(x)


@planted("check_border_pixels", because="same in every pixel of an input")
class ConstantMap(SmallUNet):
    """Averages its logits over the image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.mean(dim=(2, 3), keepdim=True).repeat(1, 1, *x.shape[2:])


@planted("check_border_pixels", because=r"outputs \[0, \d+\] repeat their neighbors")
class RepeatsItsBorder(SmallUNet):
    """Replaces its outermost logits by their neighbors."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.pad(logits[..., 1:-1, 1:-1], (1, 1, 1, 1), mode="replicate")


@planted("check_border_pixels", because="have no influence on the output")
class FixedInside(SmallUNet):
    """Works at 64 x 64 pixels, whatever the image's size, and sees every sixth column of a long one."""

    def forward(self, x: Tensor) -> Tensor:
        inside = super().forward(F.interpolate(x, size=(64, 64), mode="bilinear"))
        return F.interpolate(inside, size=x.shape[2:], mode="bilinear")


@planted("check_mirror_symmetry", because=r"along axis \[1\] one that differs")
class PadsOneSideOfWidth(SmallUNet):
    """Moves its coarsest features by one pixel to the right."""

    def encode(self, x: Tensor) -> list[Tensor]:
        *finer, coarsest = super().encode(x)
        return [*finer, F.pad(coarsest, (1, 0))[..., :-1]]


@planted("check_mirror_symmetry", because=r"along axis \[0\] one that differs")
class LooksBackInDepth(SmallUNet):
    """A volume each slice of which sees the one before, but not the one behind."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, ndim=3)
        self.mix = nn.Conv3d(num_classes, num_classes, (2, 1, 1))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.mix(F.pad(logits, (0, 0, 0, 0, 1, 0)))


@planted("check_mirror_symmetry", because="rows for columns")
class RowsForColumns(SmallUNet):
    """Takes its coarsest features in row by row, and puts them back column by column."""

    def encode(self, x: Tensor) -> list[Tensor]:
        *finer, coarsest = super().encode(x)
        return [*finer, coarsest.transpose(2, 3).reshape(coarsest.shape)]
