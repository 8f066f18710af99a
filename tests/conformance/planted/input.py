"""Networks that break the contract of input: channels, sizes, batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_in_channels", because="in_channels=1|in_channels=4")
class ThreeChannelNormalization(SmallUNet):
    """Subtracts the mean of three channels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - self.mean)


@planted("check_in_channels", because="silently accepted")
class DropsExtraChannels(SmallUNet):
    """Slices the channels it was built for."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, : self.encoder[0][0].in_channels])


@planted("check_input_channels_used", because="no influence")
class DropsFourthBand(SmallUNet):
    """Multiplies every channel from the fourth on by zero."""

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.arange(x.shape[1], device=x.device).view(1, -1, 1, 1) < 3
        return super().forward(x * keep)


@planted("check_input_channels_used", because="same influence")
class AveragesChannels(SmallUNet):
    """Feeds every channel the average."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.encoder[0][0].in_channels:
            raise ValueError(f"expected {self.encoder[0][0].in_channels} channels, got {x.shape[1]}")
        return super().forward(x.mean(1, keepdim=True).expand_as(x))


@planted("check_min_size", because="legal.*but in", capabilities={"min_size": 2})
class ExtraPooling(SmallUNet):
    """Needs more pixels than it declares."""


@planted("check_min_size", because="in training mode", capabilities={"min_size": 8, "divisor": 4})
class InstanceNormAtTheBottom(SmallUNet):
    """Normalizes maps of one pixel in training mode."""

    def encode(self, x: Tensor) -> list[Tensor]:
        features = super().encode(x)
        if self.training:
            features[-1] = F.instance_norm(F.max_pool2d(features[-1], 2))
        return features


@planted("check_divisor", because="gave an output of", capabilities={"divisor": 4})
class RoundsSizeDown(SmallUNet):
    """Crops the skip to the upsampled size, so that odd sizes lose pixels."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, scale_factor=2)
        return torch.cat([y, skip[..., : y.shape[2], : y.shape[3]]], dim=1)


@planted("check_divisor", because="the axes are mixed up")
class PadsTheOtherAxis(SmallUNet):
    """Pads to the skip by the height where the width is meant, which only differ if one of them is odd."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, scale_factor=2)
        h, w = skip.shape[2] - y.shape[2], skip.shape[3] - y.shape[3]
        return torch.cat([F.pad(y, (0, h, 0, w)), skip], dim=1)


@planted("check_batch_one_train", because="one value per channel|more than 1 value")
class NormAfterGlobalPooling(SmallUNet):
    """Batch normalization after global pooling."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16))

    def encode(self, x: Tensor) -> list[Tensor]:
        features = super().encode(x)
        features[-1] = features[-1] + self.context(features[-1])
        return features


@planted("check_empty_batch", because="expected.*0")
class NeverEmpty(SmallUNet):
    """Answers an empty batch with one image of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if len(x) else x.new_zeros(1, *x.shape[1:]))


@planted("check_tensor_subclass", because="TypeError|subclass|exact")
class ExactTypeOnly(SmallUNet):
    """Compares the type of its input instead of using isinstance."""

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is not Tensor:
            raise TypeError(f"expected exact torch.Tensor, got {type(x).__name__}")
        return super().forward(x)


@planted("check_invalid_input", because="int64.*silently")
class CastsIntegers(SmallUNet):
    """Turns whatever comes into floats."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.head.weight.dtype))


@planted("check_invalid_input", because="1 channels.*silently")
class BroadcastsGray(SmallUNet):
    """Lets one channel stand for all."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.expand(-1, self.encoder[0][0].in_channels, -1, -1) if x.shape[1] == 1 else x)


@planted("check_invalid_input", because="turned .* of a float32 network into float64")
class CastsItself(SmallUNet):
    """Takes on the dtype of whatever comes, for ever."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            self.to(x.dtype)
        return super().forward(x)


@planted("check_input_channels_used", because="input channel 1 of 3 has no influence")
class FaintChannels(SmallUNet):
    """Weighs all channels but the first with next to nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:, :1], 1e-8 * x[:, 1:]], dim=1))


@planted("check_batch_one_train", because=r"decoder\..*skipped for a single image")
class OtherHeadForOneImage(SmallUNet):
    """Averages its features instead of weighing them where there is one image."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.classes = nn.Conv2d(self.head.in_channels, num_classes, 1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits if len(x) > 1 else 0 * logits.detach() + self.classes(self.encode(x)[0])


@planted("check_invalid_input", because="in_channels=1 was silently accepted")
class TakesGrayMaps(SmallUNet):
    """Takes three axes for a batch of gray images."""

    def forward(self, x: Tensor) -> Tensor:
        gray = x.dim() == 3 and self.encoder[0][0].in_channels == 1
        return super().forward(x[:, None] if gray else x)


@planted("check_min_size", because=r"gave an output of \[8,")
class EnlargesThumbnails(SmallUNet):
    """Enlarges what is smaller than eight pixels, and leaves it so."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, size=[max(8, n) for n in x.shape[2:]]))


class _OwnRule(SmallUNet):
    """Has a rule of sizes."""

    def forward(self, x: Tensor) -> Tensor:
        self.refuse(*x.shape[2:])
        return super().forward(x)

    def refuse(self, height: int, width: int) -> None:
        if height % 4 or width % 4:
            raise ValueError(f"sides must be multiples of 4, got {height} x {width}")

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return torch.cat([F.interpolate(y, scale_factor=2.0), skip], dim=1)


@planted("check_divisor", because="while what works along axis 0 are multiples of 4")
class NamesAnotherRule(_OwnRule):
    """Says two and means four."""

    def refuse(self, height: int, width: int) -> None:
        if height % 4 or width % 4:
            raise ValueError("sides must be multiples of 2")


@planted("check_divisor", because="the rule is tested wrongly along an axis")
class TestsHalfTheWidth(_OwnRule):
    """Lets widths through that fail further on."""

    def refuse(self, height: int, width: int) -> None:
        if height % 4 or width % 2:
            raise ValueError(f"sides must be multiples of 4, got {height} x {width}")


@planted("check_batch_one_train", because="on a batch of 1, the loss is nan")
class DividesByTheSpread(SmallUNet):
    """Adds the unbiased spread over the batch, of which one image has none."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + logits.std(0).mean() if self.training else logits


@planted("check_empty_batch", because=r"gave \[0, 2, 16, 20\]|gave \[0,")
class RoundsEmptySizes(SmallUNet):
    """Answers an empty batch at a multiple of four."""

    def forward(self, x: Tensor) -> Tensor:
        if not len(x):
            return x.new_zeros(0, self.head.out_channels, *(n // 4 * 4 for n in x.shape[2:]))
        return super().forward(x)


@planted("check_empty_batch", because="an empty batch gave torch.float32")
class EmptyFloat32(SmallUNet):
    """Answers an empty batch in float32."""

    def forward(self, x: Tensor) -> Tensor:
        if not len(x):
            return torch.zeros(0, self.head.out_channels, *x.shape[2:], device=x.device)
        return super().forward(x)


@planted("check_invalid_input", because="add no batch axis silently")
class AddsBatchAxis(SmallUNet):
    """Takes one image, and answers with a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dim() == 4 or len(x) != self.encoder[0][0].in_channels else x[None])


@planted("check_input_sensitivity", because="of input channel 3 of 4")
class ClampsFourthBand(SmallUNet):
    """Clamps the fourth band."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:, :3], x[:, 3:].clamp(0, 1)], dim=1))
