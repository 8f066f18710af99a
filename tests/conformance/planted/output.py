"""Networks that break the output contract."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_forward_runs", because="no_such_layer")
class MissingLayer(SmallUNet):
    """Asks for an attribute that is not there."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        head: nn.Module = self.no_such_layer
        return head(logits)


@planted("check_output_shape", because="swapped")
class SwapsAxes(SmallUNet):
    """Resizes its logits to (width, height)."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.interpolate(logits, size=(x.shape[3], x.shape[2]))


@planted("check_output_shape", because="gave an output of")
class LosesOddPixels(SmallUNet):
    """Crops the skip to the upsampled size, so that odd sizes lose pixels."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, scale_factor=2)
        return torch.cat([y, skip[..., : y.shape[2], : y.shape[3]]], dim=1)


@planted("check_output_shape", because="is legal", capabilities={"divisor": 1})
class FailsOnOddSizes(SmallUNet):
    """Upsamples by two whatever the skip measures."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return torch.cat([F.interpolate(y, scale_factor=2), skip], dim=1)


@planted("check_output_shape", because=r"gave \[1,")
class SqueezesBatch(SmallUNet):
    """Merges a batch of three into one."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.mean(0, keepdim=True) if len(x) == 3 else logits


@planted("check_output_type", because="eval mode.*list")
class ListInEval(SmallUNet):
    """Returns a list in eval mode too."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [super().forward(x)]


@planted("check_output_type", because="not finest first")
class CoarsestFirst(SmallUNet):
    """Deep supervision in the wrong order."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        logits = super().forward(x)
        return [F.avg_pool2d(logits, 2), logits] if self.training else logits


@planted("check_output_type", because="returned dict")
class DictInTraining(SmallUNet):
    """Returns a dictionary."""

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        logits = super().forward(x)
        return {"out": logits} if self.training else logits


@planted("check_output_type", because="expected a list", capabilities={"outputs_train": 2})
class NoDeepSupervision(SmallUNet):
    """Declares two training outputs and gives one."""


@planted("check_num_classes", because="num_classes=1")
class SqueezesOneClass(SmallUNet):
    """Drops the channel axis for one class."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.squeeze(1)


@planted("check_num_classes", because="equal in every pixel")
class OneMapForAllClasses(SmallUNet):
    """Repeats one map over the classes."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits[:, :1].expand_as(logits).clone()


@planted("check_raw_logits", because="no logit is negative")
class SigmoidHead(SmallUNet):
    """A sigmoid after the head."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.sigmoid()


@planted("check_raw_logits", because="sum to 1")
class SoftmaxForSeveral(SmallUNet):
    """A softmax where there is more than one class."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.softmax(1) if logits.shape[1] > 1 else logits


@planted("check_raw_logits", because="log-softmax")
class LogSoftmaxHead(SmallUNet):
    """A log-softmax where there is more than one class."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.log_softmax(1) if logits.shape[1] > 1 else logits


@planted("check_raw_logits", because="no logit is negative")
class ReluHead(SmallUNet):
    """A ReLU after the head."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.relu()


@planted("check_raw_logits", because="bounded by")
class ScaledTanh(SmallUNet):
    """Ten times tanh."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return 10 * torch.tanh(logits / 10)


@planted("check_output_dtype", because="float32")
class AlwaysFloat(SmallUNet):
    """Casts its logits to float32."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.float()


@planted("check_output_fresh", because="shares its memory")
class ReusedOutputBuffer(SmallUNet):
    """Copies its logits into one preallocated tensor."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            return logits
        if getattr(self, "kept", None) is None or self.kept[0].shape != logits.shape:
            self.kept = [torch.empty_like(logits)]
        return self.kept[0].detach().copy_(logits.detach())


@planted("check_raw_logits", because="sum to 1")
class SoftmaxForTwo(SmallUNet):
    """A softmax where there are two classes, and only there."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.softmax(dim=1) if logits.shape[1] == 2 else logits


@planted("check_raw_logits", because="num_classes=7.*no logit is negative")
class SigmoidForSeven(SmallUNet):
    """A sigmoid where there are more classes than four."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.sigmoid() if logits.shape[1] > 4 else logits


@planted("check_output_type", because="returned twice")
class SameOutputTwice(SmallUNet):
    """Returns its logits a second time as an auxiliary output."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:  # type: ignore[override]
        logits = super().forward(x)
        return [logits, logits.clone()] if self.training else logits


@planted("check_output_shape", because=r"gave \[4, ")
class AtMostFour(SmallUNet):
    """Leaves out what is beyond the fourth image of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:4])


@planted("check_output_shape", because="is legal .* panorama")
class RefusesPanoramas(SmallUNet):
    """Refuses images that are more than three times as long as they are wide."""

    def forward(self, x: Tensor) -> Tensor:
        if max(x.shape[2:]) > 3 * min(x.shape[2:]):
            raise ValueError("panorama")
        return super().forward(x)


@planted("check_output_fresh", because="share one number")
class ExpandedLogits(SmallUNet):
    """Returns a view that repeats one number over the image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.mean(dim=(2, 3), keepdim=True).expand_as(logits)


@planted("check_output_shape", because=r"in training mode an input of \[3, ")
class DropsOddOne(SmallUNet):
    """Leaves out the last image of an odd batch in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        odd = self.training and len(x) > 1 and len(x) % 2 == 1
        return super().forward(x[:-1] if odd else x)


@planted("check_output_shape", because="is legal .* but raised")
class AtMostSixtyFour(SmallUNet):
    """Adds a map of positions that is cropped to the image, and too small for large ones."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.position = nn.Parameter(0.1 * torch.randn(1, num_classes, 64, 64))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.position[..., : x.shape[2], : x.shape[3]]


@planted("check_num_classes", because="classes 0 and 16 are equal")
class SixteenColors(SmallUNet):
    """Counts classes modulo 16."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits[:, torch.arange(logits.shape[1]) % 16]


@planted("check_num_classes", because="multiples of one map")
class OneMapTimesWeights(SmallUNet):
    """Makes one map, and weighs it for each class."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head = nn.Conv2d(4, 1, 1)
        self.weights = nn.Parameter(torch.randn(1, num_classes, 1, 1))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.weights


@planted("check_num_classes", because=r"output 0 of 1 in training mode is \[2, \d+, \d+\], expected \[2, 1\]")
class SqueezesOneClassInTraining(SmallUNet):
    """Drops the channel axis for one class, in training mode alone."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.squeeze(1) if self.training else logits


class Supervised(SmallUNet):
    """Returns coarser logits too in training mode."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        logits = super().forward(x)
        return [logits, self.coarser(F.avg_pool2d(logits, 2))] if self.training else logits

    def coarser(self, logits: Tensor) -> Tensor:
        return logits


@planted("check_num_classes", because=r"output 1 of 2 in training mode is \[2, 2,")
class TwoCoarseClasses(Supervised):
    """Predicts one class finely and two coarsely."""

    def coarser(self, logits: Tensor) -> Tensor:
        return torch.cat([-logits, logits], dim=1) if logits.shape[1] == 1 else logits


@planted("check_raw_logits", because="in training output 1, .*no logit is negative")
class CoarseProbabilities(Supervised):
    """Returns probabilities beside its logits."""

    def coarser(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


@planted("check_output_fresh", because="without a graph")
class ReusesMemoryWithoutGraph(SmallUNet):
    """Writes what needs no gradient into memory that it keeps."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("kept", torch.empty(0), persistent=False)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return logits
        self.kept = torch.empty_like(logits) if self.kept.shape != logits.shape else self.kept
        return self.kept.copy_(logits)


@planted("check_num_classes", because="input of")
class SqueezesOneMap(SmallUNet):
    """Takes every axis of length one away and puts back that of the one class."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.squeeze().unsqueeze(1) if logits.shape[1] == 1 else logits


@planted("check_raw_logits", because="held down")
class LeakyHead(SmallUNet):
    """Ends in a LeakyReLU: both signs, unbounded, and one of them a hundred times smaller."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.leaky_relu(logits)


@planted("check_raw_logits", because="held down")
class GeluHead(SmallUNet):
    """Ends in a GELU, whose negative side ends at -0.17."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.gelu(logits)


@planted("check_output_shape", because=r"output 1 of 2 is \[\d+, \d+\]")
class LosesOddPixelsBeside(Supervised):
    """Enlarges its coarse logits by two, whatever the image measures."""

    def coarser(self, logits: Tensor) -> Tensor:
        return F.interpolate(logits, scale_factor=2)


@planted("check_output_shape", because=r"output 1 of 2 is \[\d+, \d+\]")
class SwapsCoarseAxes(Supervised):
    """Returns its coarse logits transposed."""

    def coarser(self, logits: Tensor) -> Tensor:
        return logits.transpose(2, 3)


@planted("check_output_type", because="of one image are not finest first")
class TurnsListForOneImage(Supervised):
    """Returns the coarsest first for a batch of one."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        found = super().forward(x)
        return found[::-1] if isinstance(found, list) and len(x) == 1 else found


@planted("check_output_type", because=r"\(built with num_classes=5\) returned dict")
class DictionaryOfManyClasses(Supervised):
    """Returns a dictionary for more than two classes."""

    def forward(self, x: Tensor) -> Any:
        found = super().forward(x)
        return {"out": found[0], "aux": found[1]} if isinstance(found, list) and found[0].shape[1] > 2 else found


@planted("check_output_dtype", because=r"\[17, 23\], returned \{torch.float64\}")
class DoubleAtOddSizes(SmallUNet):
    """Multiplies odd images by numpy's window."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        width = x.shape[-1]
        return logits * torch.ones(width, dtype=torch.float64, device=x.device) if width % 2 else logits


@planted("check_output_fresh", because="training outputs share their memory")
class ListOfViews(Supervised):
    """Returns views of one tensor."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        found = super().forward(x)
        if not isinstance(found, list):
            return found
        memory = torch.cat([out.flatten() for out in found]).split([out.numel() for out in found])
        return [part.view_as(out) for part, out in zip(memory, found, strict=True)]


@planted("check_output_fresh", because="after a second call|shares its memory")
class CanvasForOneImage(SmallUNet):
    """Writes the logits of a single image to a canvas of its own."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("canvas", torch.zeros(1, num_classes, 64, 64), persistent=False)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if len(x) > 1 or torch.is_grad_enabled():
            return logits
        return self.canvas[..., : x.shape[2], : x.shape[3]].copy_(logits)
