"""Networks with islands of another floating type, or that break in reduced precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_no_hidden_cast", because=r"_to_copy.*torch\.float32.*own forward")
class Float32Island(SmallUNet):
    """Computes a gate in float32."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * torch.sigmoid(logits.float().mean(dim=1, keepdim=True)).to(logits.dtype)


@planted("check_no_hidden_cast", because=r"linspace")
class GridInDefaultType(SmallUNet):
    """Adds a coordinate ramp made in the default type."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + torch.linspace(0, 1, logits.shape[-1]).to(logits)


@planted("check_no_hidden_cast", because=r"torch\.float32")
class NumpyRoundTrip(SmallUNet):
    """Normalizes the image with numpy, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        array = x.detach().cpu().numpy().astype("float32")
        array = (array - array.mean()) / (array.std() + 1e-5)
        return super().forward(torch.from_numpy(array).to(x) + 0 * x)


@planted("check_no_hidden_cast", because=r"training forward.*torch\.float16")
class HalfInTraining(SmallUNet):
    """Rounds the image to half precision, to save memory, in training mode only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.half().to(x.dtype) if self.training else x)


class Attention(SmallUNet):
    """Mixes its logits by attention over a coarse grid."""

    mask = 0.0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        coarse = F.adaptive_avg_pool2d(logits, 4).flatten(2)
        scores = coarse.transpose(1, 2) @ coarse
        weight = self.masked(scores).softmax(dim=-1)
        return logits + (coarse @ weight).mean(dim=-1)[..., None, None]

    def masked(self, scores: Tensor) -> Tensor:
        return scores


@planted("check_float16", because=r"float16 forward of noise raised .*Half")
class MaskOfMinusBillion(Attention):
    """Masks scores with a number that half precision does not have."""

    def masked(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(torch.eye(16, dtype=torch.bool, device=scores.device), -1e9)


@planted("check_float16", because=r"zeros are NaN or infinite.*own forward")
class TinyEpsilon(SmallUNet):
    """Divides by a maximum plus an epsilon that is zero in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / (x.abs().amax(dim=(1, 2, 3), keepdim=True) + 1e-8))


@planted("check_float16_large_image", because=r"noise of size .* are NaN or infinite")
class SumOverImage(SmallUNet):
    """Averages over the image by a sum and a division, which overflows on a large image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        total = x.sum(dim=(2, 3), keepdim=True, dtype=x.dtype) / (x.shape[2] * x.shape[3])
        return logits + total.mean(dim=1, keepdim=True)


@planted("check_float16", because=r"are NaN or infinite")
class SquareOfLargeNumbers(SmallUNet):
    """Squares what it first scales up."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + (1000 * logits).square().sqrt() / 1000


@planted("check_autocast", because=r"eval forward under bfloat16 autocast raised .*[Ii]ndex")
class ScatterIntoFloat32(SmallUNet):
    """Writes its channels into a preallocated tensor of the image's type."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        out = torch.zeros(logits.shape, dtype=x.dtype, device=x.device)
        order = torch.arange(logits.shape[1], device=x.device)
        return out.index_add(1, order, logits)


@planted("check_autocast", because=r"training step under bfloat16 autocast raised")
class ScatterInTraining(ScatterIntoFloat32):
    """As above, in training mode only."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return super().finish(logits, x) if self.training else logits


@planted("check_autocast", because=r"bfloat16 autocast output on noise against float32")
class LossOfBits(SmallUNet):
    """Adds a large offset and takes it away again, which leaves no bits in bfloat16."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return (logits + 1000.0) - 1000.0


@planted("check_no_hidden_cast", because=r"eval forward of \[\d+, \d+\]")
class FloatAtOddSizes(SmallUNet):
    """Resizes in float32 what does not fit its skip."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        if 2 * y.shape[-1] == skip.shape[-1]:
            return super().merge(y, skip, index)
        return super().merge(y.float(), skip, index).to(skip.dtype)
