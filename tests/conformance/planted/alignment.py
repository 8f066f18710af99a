"""Networks whose outputs do not lie over the pixels they speak of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_alignment", because="on average along axis")
class ShiftedSkip(SmallUNet):
    """Pads and crops so that the logits move by one pixel."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.pad(logits, (1, 0, 1, 0))[..., :-1, :-1]


class PadsAround(SmallUNet):
    """Pads to a multiple of four on both sides, and crops the logits likewise."""

    def forward(self, x: Tensor) -> Tensor:
        more = [-n % 4 for n in x.shape[:1:-1]]
        front = [n // 2 for n in more]
        padded = F.pad(x, [front[0], more[0] - front[0], front[1], more[1] - front[1]])
        return self.crop(super().forward(padded), more, x.shape[2:])

    def crop(self, logits: Tensor, more: list[int], size: torch.Size) -> Tensor:
        return logits[..., more[1] // 2 :, more[0] // 2 :][..., : size[0], : size[1]]


@planted("check_alignment", because=r"lies \+1\.00 pixels further")
class CropsOtherSide(PadsAround):
    """Rounds up where it crops, and down where it pads."""

    def crop(self, logits: Tensor, more: list[int], size: torch.Size) -> Tensor:
        return super().crop(logits, [n + n % 2 for n in more], size)


@planted("check_alignment", because="on average along axis 1")
class ShiftedBetweenGroups(SmallUNet):
    """Moves its logits by one pixel; its normalizations see the whole image."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=lambda channels: nn.GroupNorm(2, channels))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.pad(logits, (1, 0))[..., :-1]


@planted("check_alignment", because=r"not by whole factors")
class WholeFactors(SmallUNet):
    """Rounds up in pooling, enlarges by whole factors, and fills up what is missing with the last pixel."""

    def down(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2, ceil_mode=True)

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        factors = [n // m for n, m in zip(skip.shape[2:], y.shape[2:], strict=True)]
        y = y.repeat_interleave(factors[0], 2).repeat_interleave(factors[1], 3)
        rows, columns = (n - m for n, m in zip(skip.shape[2:], y.shape[2:], strict=True))
        return torch.cat([F.pad(y, (0, columns, 0, rows), mode="replicate"), skip], dim=1)


@planted("check_alignment", because=r"from stride 4 lies -4\.\d+ pixels away")
class ShiftsCoarsest(SmallUNet):
    """Pads its coarsest features on one side, which its skips outweigh."""

    def encode(self, x: Tensor) -> list[Tensor]:
        *finer, coarsest = super().encode(x)
        return [*finer, 0.3 * F.pad(coarsest, (1, 0, 1, 0))[..., :-1, :-1]]


@planted("check_alignment", because=r"from stride 2 lies \+1\.00 pixels further")
class KeepsTheLastPixels(SmallUNet):
    """Rounds up in pooling, doubles, and cuts off what is too much in front."""

    def down(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2, ceil_mode=True)

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        rows, columns = skip.shape[2:]
        return torch.cat([F.interpolate(y, scale_factor=2)[..., -rows:, -columns:], skip], dim=1)


@planted("check_alignment", because="tokens are put back in another order")
class PutsColumnsForRows(SmallUNet):
    """Multiplies queries that have seen the whole image with pixels, and puts the products back by columns."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.queries = nn.Linear(num_classes, num_classes)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        seen = self.queries(logits.mean((2, 3)))[..., None, None]
        return (logits + seen).transpose(2, 3).reshape(logits.shape)
