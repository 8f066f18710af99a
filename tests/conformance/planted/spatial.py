"""Networks whose outputs do not lie where they should, or depend on what they should not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted

UNET_PATHS = {"path_strides": (1, 2, 4)}


@planted("check_path_strides", because="multiplied by zero")
class ZeroedSkip(SmallUNet):
    """Multiplies its finest skip by zero."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, skip * 0 if index == 1 else skip, index)


@planted("check_path_strides", because="none of stride")
class MissingSkip(SmallUNet):
    """Replaces the skip of stride 2, of four levels, by the upsampled features."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, levels=4)

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        if index != 1:
            return super().merge(y, skip, index)
        y = F.interpolate(y, size=skip.shape[2:], mode="nearest")
        return torch.cat([y, y[:, : skip.shape[1]]], dim=1)


@planted("check_path_strides", because=r"none of stride \[1\]")
class MissingFinestSkip(SmallUNet):
    """Replaces its finest skip by what has been pooled and enlarged."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, skip if index == 0 else F.interpolate(self.down(skip), size=skip.shape[2:]), index)


@planted("check_path_strides", because="declared", capabilities=UNET_PATHS)
class DetachedSkip(SmallUNet):
    """Detaches its finest skip."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, skip.detach() if index == 1 else skip, index)


@planted("check_path_strides", because="no_skips", capabilities={"no_skips": True})
class NotAnAutoencoder(SmallUNet):
    """Has skips though it declares none."""


@planted("check_translation_equivariance", because="shifting", capabilities={"shift_period": 4, "receptive_field": 24})
class AlignedCorners(SmallUNet):
    """Upsamples with aligned corners."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([y, skip], dim=1)


@planted("check_translation_equivariance", because="but not along")
class PositionAlongOneAxis(SmallUNet):
    """Adds the row index to its logits."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        rows = torch.arange(logits.shape[2], dtype=logits.dtype, device=logits.device)
        return logits + 0.01 * rows.view(1, 1, -1, 1)


@planted("check_receptive_field", because="circular|input.*away")
class CircularPadding(SmallUNet):
    """Pads its convolutions circularly."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
                module.padding_mode = "circular"
                module._reversed_padding_repeated_twice = [1, 1, 1, 1]


@planted("check_receptive_field", because="pixels away", capabilities={"receptive_field": 24})
class UndeclaredContext(SmallUNet):
    """Adds the global mean though it declares a receptive field."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + logits.mean((2, 3), keepdim=True)


@planted("check_tiling", because="halo", capabilities={"receptive_field": 4, "shift_period": 4})
class HaloTooSmall(SmallUNet):
    """Declares less context than it has."""


@planted("check_finite_degenerate", because="not finite")
class DividesByStd(SmallUNet):
    """Standardizes each image without eps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


@planted("check_finite_degenerate", because="gradients")
class NormAtZero(SmallUNet):
    """Takes the square root of a sum of squares."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * (1 + (x * 0 + logits.sum(1, keepdim=True) * 0).pow(2).sum((1, 2, 3), keepdim=True).sqrt())


@planted("check_nan_locality", because="spoils outputs", capabilities={"receptive_field": 24})
class SpreadsNaN(SmallUNet):
    """Subtracts the mean of the image, declared as local."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean((2, 3), keepdim=True))


@planted("check_input_sensitivity", because="negative|clamped")
class ClampsToUnit(SmallUNet):
    """Clamps its input to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp(0, 1))


@planted("check_tiling", because="whole image of .*1100")
class TilesLargeImages(SmallUNet):
    """Cuts wide images in eval mode into tiles that do not overlap."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training or x.shape[-1] < 128:
            return super().forward(x)
        return torch.cat([super(TilesLargeImages, self).forward(tile) for tile in x.split(32, dim=-1)], dim=-1)


@planted("check_input_sensitivity", because="above 1000 have no influence")
class ClampsAt255(SmallUNet):
    """Takes for granted that pixels are bytes."""

    def encode(self, x: Tensor) -> list[Tensor]:
        return super().encode(x.clamp(max=255))


@planted("check_receptive_field", because="other corner")
class TransposesBranch(SmallUNet):
    """Adds a branch whose rows and columns are swapped."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        swapped = x.mean(dim=1, keepdim=True).transpose(2, 3)
        return logits + 0.1 * F.interpolate(swapped, size=x.shape[2:], mode="nearest")


@planted("check_nan_locality", because="NaN in the other corner of .* spoils outputs")
class TransposesSquares(SmallUNet):
    """Swaps the axes of its logits, which shows in the shape unless the image is square."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.transpose(2, 3) if x.shape[2] == x.shape[3] else logits


@planted("check_input_sensitivity", because="an image of NaN gives numbers")
class HidesNaN(SmallUNet):
    """Replaces what is not a number by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.nan_to_num(x))


@planted("check_tiling", because="against the whole image of")
class HalvesLargeImages(SmallUNet):
    """Works on large images at half their resolution."""

    def forward(self, x: Tensor) -> Tensor:
        if max(x.shape[2:]) <= 512:
            return super().forward(x)
        return F.interpolate(super().forward(F.avg_pool2d(x, 2, ceil_mode=True)), size=x.shape[2:])


@planted("check_path_strides", because=r"an input of \[\d+, \d+\] no path of stride \[1, 2\]")
class LeavesOutUnevenSkips(SmallUNet):
    """Replaces a skip by the upsampled features where their sizes disagree."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        if 2 * y.shape[-1] == skip.shape[-1]:
            return super().merge(y, skip, index)
        y = F.interpolate(y, size=skip.shape[2:])
        return torch.cat([y, y[:, : skip.shape[1]]], dim=1)


@planted("check_tiling", because=r"against the whole image of \[\d+, \d+\]")
class TurnsWideImages(SmallUNet):
    """Lays images on their side that are wider than high."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[-1] > x.shape[-2]
        return super().forward(x.transpose(-1, -2)).transpose(-1, -2) if wide else super().forward(x)


@planted("check_nan_locality", because="a pixel of 100 in the other corner")
class DimsBrightImages(SmallUNet):
    """Divides an image by its largest value where that is above 20."""

    def forward(self, x: Tensor) -> Tensor:
        top = x.detach().amax((1, 2, 3), keepdim=True)
        return super().forward(x / torch.where(top > 20, top, torch.ones_like(top)))
