"""Networks whose training and eval modes are mixed up."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_norm_stats", because="running_mean.*as they were")
class MomentumZero(SmallUNet):
    """Batch normalization that never learns its statistics."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=lambda c: nn.BatchNorm2d(c, momentum=0.0))


@planted("check_norm_stats", because="momentum.*0.99.*TensorFlow")
class MomentumOfTensorFlow(SmallUNet):
    """Weights the new batch by 0.99, as others weight the past."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=lambda c: nn.BatchNorm2d(c, momentum=0.99))


@planted("check_norm_stats", because="eval forward changed")
class BatchNormAlwaysTrains(SmallUNet):
    """Holds its normalization in training mode."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=EagerBatchNorm)


class EagerBatchNorm(nn.BatchNorm2d):
    """Normalizes by the batch and updates its statistics in every mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True, 0.1, self.eps)


@planted("check_train_eval_consistency", because="standard deviations")
class SharedNormalization(SmallUNet):
    """One normalization for maps of very different size."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.norm = nn.BatchNorm2d(num_classes)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.norm(50 * self.norm(logits) + 30)


@planted("check_mode_flags", because="return self")
class TrainReturnsNothing(SmallUNet):
    """Overrides train without returning."""

    def train(self, mode: bool = True) -> None:
        super().train(mode)


@planted("check_mode_flags", because="after eval")
class EncoderStaysInTraining(SmallUNet):
    """Keeps its encoder in training mode."""

    def train(self, mode: bool = True) -> SmallUNet:
        super().train(mode)
        self.encoder.train()
        return self


@planted("check_mode_flags", because="after a forward in training")
class EvalInForward(SmallUNet):
    """Puts its head in eval mode in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.head.eval()
        return logits


@planted("check_stochastic_honest", because="never fires")
class DropoutNeverFires(SmallUNet):
    """Applies its dropout in no-op mode."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.dropout = nn.Dropout2d(0.5)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.dropout2d(logits, self.dropout.p, training=False)


@planted("check_stochastic_honest", because="Undeclared noise", capabilities={"stochastic_train": False})
class UndeclaredNoise(SmallUNet):
    """Adds noise in training mode though it declares none."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + 0.01 * torch.randn_like(logits) if self.training else logits


@planted("check_train_eval_consistency", because="another path is taken")
class SmoothsInTraining(SmallUNet):
    """Smooths its logits in training mode; there is no normalization to excuse a difference."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, width=8, norm=lambda c: nn.Identity())

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return F.avg_pool2d(logits, 3, stride=1, padding=1) if self.training else logits


@planted("check_train_eval_consistency", because="another path is taken")
class SlightlySharperInEval(SmallUNet):
    """Scales its logits by a hundredth more in eval mode."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits if self.training else 1.01 * logits


@planted("check_dropout_axes", because="dropout .Dropout3d of a batch with 4 axes")
class DropsWholeSamples(SmallUNet):
    """Drops volumes' channels in a network for images: torch takes the batch for channels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.dropout = nn.Dropout3d(0.1)

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return self.dropout(super().merge(y, skip, index))


@planted("check_mode_flags", because=r"took back eval\(\) of encoder\.0\.1")
class FollowsItsOwnMode(SmallUNet):
    """Gives its normalizations its own mode in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(self.training)
        return super().forward(x)


@planted("check_mode_flags", because="hangs on another call")
class SwitchesInEval(SmallUNet):
    """Returns coarse logits too until its eval() is called, which train(False) does not call."""

    several = True

    def train(self, mode: bool = True) -> SmallUNet:
        self.several = self.several or mode
        return super().train(mode)

    def eval(self) -> SmallUNet:
        super().eval()
        self.several = False
        return self

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        logits = super().forward(x)
        return [logits, F.avg_pool2d(logits, 2)] if self.several else logits


@planted("check_mode_flags", because="switched requires_grad of head")
class FreezesHeadInEval(SmallUNet):
    """Spares gradients in eval mode by freezing its head, for good."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training:
            self.head.requires_grad_(False)
        return logits


@planted("check_mode_flags", because="after a training forward of one image, training=False")
class SleepsOnOneImage(SmallUNet):
    """Puts its last block in eval mode for a batch of one, and leaves it there."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if len(x) == 1:
            self.decoder[-1].eval()
        return logits


class _StillNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *known, self.training and len(x) > 1, self.momentum or 0.0, self.eps)


@planted("check_norm_stats", because="of one image left .*running_mean")
def still_for_one_image(in_channels: int, num_classes: int) -> nn.Module:
    """Normalizes a batch of one by its running statistics."""
    return SmallUNet(in_channels, num_classes, norm=_StillNorm)


@planted("check_stochastic_honest", because="six in a row are equal")
class ReplaysItsMask(SmallUNet):
    """Puts torch's random state back behind its dropout."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training:
            return logits
        with torch.random.fork_rng(devices=[]):
            return F.dropout(logits, 0.3)
