"""Networks whose gradients are missing, wrong or not finite."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_backward_runs", because=r"inplace.*recorded at .*sigmoid\(y\)")
class InPlaceAfterSigmoid(SmallUNet):
    """Overwrites the output of a sigmoid, which its backward still needs."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = torch.sigmoid(y)
        y += 1
        return super().merge(y, skip, index)


@planted("check_backward_runs", because="input .* receives no gradient")
class DetachedInput(SmallUNet):
    """Normalizes the image under ``.data``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.data - 0.5)


class TwoOutputs(SmallUNet):
    """Returns an auxiliary prediction in training mode."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.auxiliary = nn.Conv2d(4, num_classes, 1)

    def auxiliary_input(self, features: Tensor) -> Tensor:
        return features

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:  # type: ignore[override]
        logits = super().forward(x)
        if not self.training:
            return logits
        return [logits, self.auxiliary(self.auxiliary_input(self.encode(x)[0]))]


@planted("check_backward_runs", because="output 1 of 2 .* does not require grad", capabilities={"outputs_train": 2})
class DetachedAuxiliary(TwoOutputs):
    """Computes its auxiliary logits, then detaches them."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:  # type: ignore[override]
        outputs = super().forward(x)
        return [outputs[0], outputs[1].detach()] if isinstance(outputs, list) else outputs


@planted("check_grads_finite", because=r"zeros.*NaN or infinite")
class SquareRootAtZero(SmallUNet):
    """Divides the image by its norm: finite forward on blanks, infinite derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / (x.pow(2).sum(dim=(1, 2, 3), keepdim=True).sqrt() / 32 + 1))


@planted("check_grads_finite", because="eval mode.*does not require grad")
class NoGradInEval(SmallUNet):
    """Switches gradients off itself in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            return super().forward(x)


@planted("check_param_grads", because=r"spare\.weight \[4, 4, 3, 3\] \(in 4 of 4 steps\)")
class UnusedLayer(SmallUNet):
    """Owns a convolution that forward never calls."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.spare = nn.Conv2d(4, 4, 3, padding=1)


@planted("check_param_grads", because=r"refine\.weight .*in \d+ of 32 steps")
class RandomlySkippedLayer(SmallUNet):
    """Skips a residual branch with probability one fifth, instead of multiplying it by zero."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.refine = nn.Conv2d(num_classes, num_classes, 3, padding=1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.2:
            return logits
        return logits + self.refine(logits)


@planted("check_param_grads", because=r"encoder\.0\.0\.weight")
class DetachedEncoder(SmallUNet):
    """Detaches every feature of the encoder but the last."""

    def encode(self, x: Tensor) -> list[Tensor]:
        features = super().encode(x)
        return [*(f.detach() for f in features[:-1]), features[-1].detach()]


@planted("check_param_grads", because=r"requires_grad is off.*head\.bias")
class FrozenBias(SmallUNet):
    """Ships with one parameter frozen."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        assert self.head.bias is not None
        self.head.bias.requires_grad_(False)


@planted("check_param_grads_nonzero", because=r"refine\.weight is zero")
class BranchTimesZero(SmallUNet):
    """Adds a branch multiplied by a constant zero."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.refine = nn.Conv2d(num_classes, num_classes, 3, padding=1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + 0.0 * self.refine(logits)


@planted("check_param_grads_nonzero", because=r"refine\.weight is zero")
class DeadActivation(SmallUNet):
    """A branch ends in a ReLU of what is always negative."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.refine = nn.Conv2d(num_classes, num_classes, 3, padding=1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + F.relu(-1.0 - self.refine(logits).square())


class _HalfGradient(torch.autograd.Function):
    """Identity whose backward halves the gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return 0.5 * grad


@planted("check_gradcheck", because=r"eval mode.*encoder\.0\.0\.weight")
class WrongCustomBackward(SmallUNet):
    """One skip's gradient is halved by a custom backward."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, _HalfGradient.apply(skip), index)


@planted("check_gradcheck", because="training mode the gradient")
class WrongBackwardInTraining(SmallUNet):
    """As above, but only in training mode and only at the bottleneck."""

    def encode(self, x: Tensor) -> list[Tensor]:
        *fine, last = super().encode(x)
        return [*fine, _HalfGradient.apply(last) if self.training else last]


@planted("check_gradcheck", because="detach")
class DetachedGate(SmallUNet):
    """Gates its logits by their own detached average."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * torch.sigmoid(logits.detach().mean(dim=(2, 3), keepdim=True))


class _StraightScale(nn.Module):
    """A learned scale per channel with a custom backward whose scale gradient has the wrong sign."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.dim() - 2))
        return x * (2 * self.gamma.detach() - self.gamma).view(shape)


@planted("check_gradcheck", because=r"wrong for 1 of 19 tensors: scale\.gamma")
class WrongSignOfSmallParameter(SmallUNet):
    """Only four numbers of the whole network have a wrong gradient."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.scale = _StraightScale(num_classes)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.scale(logits)


@planted("check_param_grads_nonzero", because=r"decoder\.1\.0\.weight along axis 1 \(channels \[8, 9, 10, 11\] of 12\)")
class IgnoresFinestSkip(SmallUNet):
    """Concatenates zeros in place of the finest skip."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y, torch.zeros_like(skip) if index == 1 else skip, index)


@planted("check_param_grads_nonzero", because=r"decoder\.1\.0\.weight along axis 0 \(channels \[2, 3\] of 4\)")
class ReadsHalfItsFeatures(SmallUNet):
    """The head sees the first half of the channels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head = _FirstTwo(2, num_classes, 1)


class _FirstTwo(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :2])


@planted("check_gradcheck", because="gradient by the parameters is off")
class HalvesGradientInHook(SmallUNet):
    """A hook on a weight halves its gradient."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head.weight.register_hook(_half)


def _half(gradient: Tensor) -> Tensor:
    return 0.5 * gradient


@planted("check_gradcheck", because="training mode the gradient")
class StandardizesInPlace(SmallUNet):
    """Takes the mean off its first weights in every training forward, behind autograd's back."""

    def encode(self, x: Tensor) -> list[Tensor]:
        if self.training:
            weight = self.encoder[0][0].weight.data
            weight -= weight.mean(dim=(1, 2, 3), keepdim=True)
        return super().encode(x)
