"""Networks that are impure in eval mode, or mix up samples and calls."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_eval_deterministic", because="Dropout")
class AlwaysDropsOut(SmallUNet):
    """Functional dropout without the training flag."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.dropout(logits, 0.1)


@planted("check_eval_rng_pure", because=r"torch \(CPU\)")
class DrawsInEval(SmallUNet):
    """Draws the coin of stochastic depth in eval mode too."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        keep = torch.rand(len(x)) > 0.1
        return logits * keep.view(-1, 1, 1, 1) if self.training else logits


@planted("check_eval_deterministic", because=r"at size \[\d+, \d+\]")
class SamplesManyPixels(SmallUNet):
    """Standardizes by a thousand pixels drawn at random, where there are more."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        pixels = logits.flatten(2)
        if pixels.shape[2] > 1000:
            pixels = pixels[..., torch.randperm(pixels.shape[2])[:1000]]
        return logits - pixels.mean(2)[..., None, None]


@planted("check_eval_rng_pure", because=r"of 2 images, \[\d+, \d+\], moved")
class JittersOddPadding(SmallUNet):
    """Draws on which side it pads an odd width, and then pads on the right."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            torch.rand(())
        return logits


@planted("check_eval_rng_pure", because="numpy")
class DrawsFromNumpy(SmallUNet):
    """Draws from numpy in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        numpy.random.rand()
        return logits


@planted("check_rng_not_reseeded", because=r"training forward torch \(CPU\)")
class SeedsInForward(SmallUNet):
    """Seeds before its dropout."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            torch.manual_seed(0)
        return F.dropout(logits, 0.1, self.training)


@planted("check_eval_stateless", because="bank")
class MemoryBank(SmallUNet):
    """Updates a bank of means in eval mode."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("bank", torch.zeros(1, num_classes, 1, 1))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.bank.lerp_(logits.mean((0, 2, 3), keepdim=True), 0.1)
        return logits + self.bank.clone()


@planted("check_history_independence", because="earlier call at size")
class CachedGrid(SmallUNet):
    """Keeps the row weights of the first image size and stretches them to others."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not hasattr(self, "rows"):
            self.rows = torch.linspace(0, 1, x.shape[2]).tolist()
        rows = torch.tensor(self.rows, dtype=x.dtype, device=x.device).view(1, 1, -1)
        return logits * F.interpolate(rows, size=x.shape[2], mode="linear").view(1, 1, -1, 1)


@planted("check_history_independence", because="earlier call at size")
class KeepsItsPlan(SmallUNet):
    """Decides by the first image whether it is long, and then averages along that axis for ever."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.plan: bool | None = None

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.plan is None:
            self.plan = x.shape[-1] > 4 * x.shape[-2]
        return logits + logits.mean(-1, keepdim=True) if self.plan else logits


@planted("check_history_independence", because=r"earlier call at size .*: shape")
class KeepsItsOutputSize(SmallUNet):
    """Enlarges its logits to the size of the first image, whatever comes later."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not hasattr(self, "target"):
            self.target = tuple(x.shape[2:])
        return F.interpolate(logits, size=self.target, mode="nearest")


@planted("check_history_independence", because="training step after|[Ii]nference")
class KeepsInferenceTensor(SmallUNet):
    """Caches a tensor that may be made in inference mode."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not hasattr(self, "ones"):
            self.ones: dict[torch.dtype, Tensor] = {}
        return logits * self.ones.setdefault(x.dtype, torch.ones(1, dtype=x.dtype))


@planted("check_batch_independence", because="batch of two")
class BatchStatisticsInEval(SmallUNet):
    """Normalizes its logits over the batch."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits - 1e-6 * logits.mean((0, 2, 3), keepdim=True)


@planted("check_batch_independence", because="Samples meet")
class WholeBatchMaximum(SmallUNet):
    """Divides its input by the largest value of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / x.abs().max().clamp(min=1))


@planted("check_no_grad_respected", because="enables gradients")
class EnablesGrad(SmallUNet):
    """Turns gradients on in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.head.bias.view(1, -1, 1, 1) + logits


@planted("check_no_grad_respected", because="turns gradients off")
class NoGradInEval(SmallUNet):
    """Turns gradients off in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            return super().forward(x)


@planted("check_input_unmodified", because="changed its input|wrote to its input|leaf")
class NormalizesInPlace(SmallUNet):
    """Subtracts the mean in place."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.sub_(x.mean((2, 3), keepdim=True))
        return super().forward(x)


@planted("check_input_unmodified", because="requires_grad=True on its input")
class AsksForInputGradient(SmallUNet):
    """Makes its input require grad, a trick for checkpointing."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x.requires_grad_()
        return super().forward(x)


@planted("check_reentrancy", because="another call right after|another call runs")
class SkipsOnSelf(SmallUNet):
    """Carries its skips through attributes."""

    def encode(self, x: Tensor) -> list[Tensor]:
        self.held = super().encode(x)
        return self.held

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        held = self.held[-2 - index]
        if index == 1:
            self.held = []
        return super().merge(y, held, index)


@planted("check_reentrancy", because="another call runs right after .* shape")
class SizeOnSelf(SmallUNet):
    """Keeps the size of its image on itself until it needs it."""

    def encode(self, x: Tensor) -> list[Tensor]:
        self.wanted = x.shape[2:]
        return super().encode(x)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.interpolate(logits, self.wanted)


@planted("check_thread_safety", because="parallel|raised")
class SharedScratch(SmallUNet):
    """Works in a scratch tensor that all calls share."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            return logits
        if getattr(self, "scratch", None) is None or self.scratch[0].shape != logits.shape:
            self.scratch = [torch.empty_like(logits)]
        self.scratch[0].copy_(logits.detach())
        for _ in range(20):
            self.scratch[0].mul_(2).mul_(0.5)
        return self.scratch[0] + 0 * logits


@planted("check_freeze_respected", because="set requires_grad=True")
class ThawsInForward(SmallUNet):
    """Re-enables gradients in forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.requires_grad_(True)
        return super().forward(x)


@planted("check_freeze_respected", because=r"^train\(\) set requires_grad=True on .*head")
class TrainUnfreezesHead(SmallUNet):
    """Trains its head in training mode, whoever has frozen it."""

    def train(self, mode: bool = True) -> SmallUNet:
        self.head.requires_grad_(mode)
        return super().train(mode)


@planted("check_freeze_respected", because="outside parameters")
class HiddenLeaf(SmallUNet):
    """Trains a tensor that is no parameter."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.gain = torch.ones(1, requires_grad=True)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.gain


@planted("check_batch_independence", because="batch of 9")
class ReversesChunks(SmallUNet):
    """Works through large batches in chunks of four, and puts them together in the wrong order."""

    def forward(self, x: Tensor) -> Tensor:
        chunks = [super(ReversesChunks, self).forward(part) for part in x.split(4)]
        return torch.cat(chunks if self.training else chunks[::-1])


@planted("check_batch_independence", because="batch of")
class UntrackedStatistics(SmallUNet):
    """Batch normalization that keeps no running statistics takes those of the batch in eval mode too."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=lambda c: nn.BatchNorm2d(c, track_running_stats=False))


@planted("check_history_independence", because="inference mode")
class OtherPathWithoutGraph(SmallUNet):
    """Smooths its logits where no graph is wanted."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits if torch.is_grad_enabled() else F.avg_pool2d(logits, 3, stride=1, padding=1)


@planted("check_no_grad_respected", because="the eval output in inference mode")
class OtherPathInInferenceMode(SmallUNet):
    """Smooths its logits in inference mode alone."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.avg_pool2d(logits, 3, 1, 1) if torch.is_inference_mode_enabled() else logits


@planted("check_no_grad_respected", because="for an input that requires grad")
class OtherPathForAttacks(SmallUNet):
    """Sharpens its logits where the input requires grad."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return 1.1 * logits if x.requires_grad else logits


@planted("check_no_grad_respected", because=r"a graph is recorded in 'encoder\.0\.0'")
class RecordsItsEncoder(SmallUNet):
    """Enables gradients for its encoder, and detaches what comes out where none are wanted."""

    def encode(self, x: Tensor) -> list[Tensor]:
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            features = super().encode(x)
        return features if wanted else [feature.detach() for feature in features]


@planted("check_input_unmodified", because=r"eval \(no_grad\) forward changed its input")
class CentersInPlaceWithoutGraph(SmallUNet):
    """Spares memory where no graph is wanted."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return super().forward(x - mean if torch.is_grad_enabled() else x.sub_(mean))


@planted("check_eval_rng_pure", because="of 1 images.* moved")
class DrawsForOneImage(SmallUNet):
    """Draws a number that it does not use for a batch of one."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if len(x) == 1:
            torch.rand(())
        return logits


@planted("check_rng_not_reseeded", because=r"training forward torch \(CPU\)")
class SeedsByStep(SmallUNet):
    """Seeds torch's generator with the number of its steps."""

    steps = 0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            torch.manual_seed(self.steps)
        return logits


@planted("check_input_unmodified", because="eval.*changed its input")
class CentersGrayImages(SmallUNet):
    """Centers images of one channel in place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(x.mean()) if x.shape[1] == 1 and not torch.is_grad_enabled() else x)
