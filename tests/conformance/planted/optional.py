"""Networks whose optional interfaces do not do what they say."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


class Resettable(SmallUNet):
    """Can replace its head, rightly."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.num_classes = num_classes

    def reset_head(self, num_classes: int) -> None:
        old = self.head.weight
        self.head = nn.Conv2d(4, num_classes, 1, device=old.device, dtype=old.dtype).train(self.training)
        self.num_classes = num_classes


@planted("check_reset_classifier", because=r"head\.weight.* are not float64")
class NewHeadInFloat32(Resettable):
    """Makes the new head in the default type, on the CPU."""

    def reset_head(self, num_classes: int) -> None:
        self.head = nn.Conv2d(4, num_classes, 1).train(self.training)
        self.num_classes = num_classes


@planted("check_reset_classifier", because=r"outside of the head .*encoder\.0\.0\.weight")
class ResetsEverything(Resettable):
    """Draws all weights anew."""

    def reset_head(self, num_classes: int) -> None:
        super().reset_head(num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight)


@planted("check_reset_classifier", because=r"num_classes is")
class ForgetsNumber(Resettable):
    """Does not update its num_classes."""

    def reset_head(self, num_classes: int) -> None:
        before = self.num_classes
        super().reset_head(num_classes)
        self.num_classes = before


@planted("check_reset_classifier", because=r"head, head\.0 are in training mode")
class NewDropoutInTrainingMode(Resettable):
    """Leaves the dropout of the new head in training mode."""

    def reset_head(self, num_classes: int) -> None:
        super().reset_head(num_classes)
        self.head = nn.Sequential(nn.Dropout(), self.head)


@planted("check_reset_classifier", because=r"expected 1 channels|expected 5 channels")
class AtLeastTwoClasses(Resettable):
    """Never makes a head of one channel."""

    def reset_head(self, num_classes: int) -> None:
        super().reset_head(max(num_classes, 2))
        self.num_classes = num_classes


@planted("check_reset_classifier", because=r"do not require grad")
class FreezesNewHead(Resettable):
    """Gives the new head the old one's frozen state."""

    def reset_head(self, num_classes: int) -> None:
        frozen = not self.head.weight.requires_grad
        super().reset_head(num_classes)
        self.head.requires_grad_(not frozen)


class Freezable(SmallUNet):
    """Can freeze its encoder, rightly."""

    frozen = False

    def freeze_encoder(self) -> None:
        self.frozen = True
        self.encoder.requires_grad_(False).eval()

    def unfreeze_encoder(self) -> None:
        self.frozen = False
        self.encoder.requires_grad_(True).train(self.training)

    def train(self, mode: bool = True) -> Freezable:
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self


@planted("check_freeze_encoder", because=r"changes encoder\.0\.1\.running_mean")
class StatisticsDrift(Freezable):
    """Freezes the weights, but not the running statistics."""

    def train(self, mode: bool = True) -> StatisticsDrift:
        nn.Module.train(self, mode)
        return self


@planted("check_freeze_encoder", because=r"froze no parameter")
class FreezesNothing(Freezable):
    """Only sets a flag."""

    def freeze_encoder(self) -> None:
        self.frozen = True


@planted("check_freeze_encoder", because=r"froze every parameter")
class FreezesEverything(Freezable):
    """Freezes the decoder as well."""

    def freeze_encoder(self) -> None:
        super().freeze_encoder()
        self.requires_grad_(False)


@planted("check_freeze_encoder", because=r"still frozen")
class UnfreezesHalf(Freezable):
    """Unfreezes the weights of two or more axes only."""

    def unfreeze_encoder(self) -> None:
        super().unfreeze_encoder()
        for p in chain.from_iterable(m.parameters(recurse=False) for m in self.encoder.modules()):
            p.requires_grad_(p.dim() > 1)


@planted("check_freeze_encoder", because=r"eval\(\) encoder.* still in training mode")
class FrozenOutOfReach(Freezable):
    """Passes no mode on to a frozen encoder, of which normalization alone is in evaluation mode."""

    def freeze_encoder(self) -> None:
        super().freeze_encoder()
        for module in self.encoder.modules():
            module.training = not isinstance(module, nn.BatchNorm2d)

    def train(self, mode: bool = True) -> FrozenOutOfReach:
        modes = {module: module.training for module in self.encoder.modules()}
        super().train(mode)
        if self.frozen:
            for module, was in modes.items():
                module.training = was
        return self


@planted("check_freeze_encoder", because=r"in eval mode puts .*encoder.* in training mode")
class UnfreezingTrains(Freezable):
    """Sets the encoder to training mode, whatever the mode of the rest."""

    def unfreeze_encoder(self) -> None:
        super().unfreeze_encoder()
        self.encoder.train()


@planted("check_freeze_encoder", because=r"still in eval mode")
class StaysInEval(Freezable):
    """Keeps the encoder in eval mode for ever."""

    def unfreeze_encoder(self) -> None:
        self.encoder.requires_grad_(True)


class _Encoder(nn.Module):
    """Three feature maps, and what it says of them."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.strides = channels, strides
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((in_channels, 4), (4, 8)))

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = torch.relu(self.layers[0](x))
        return [fine, torch.relu(self.layers[1](nn.functional.max_pool2d(fine, 2)))]


class _WithEncoder(nn.Module):
    def __init__(self, in_channels: int, num_classes: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = _Encoder(in_channels, channels, strides)
        self.head = nn.Conv2d(12, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine, coarse = self.encoder(x)
        return self.head(torch.cat([fine, nn.functional.interpolate(coarse, size=fine.shape[2:])], dim=1))


@planted("check_features", because=r"feature 1 has 8 channels, 16 declared")
def WrongChannels(in_channels: int, num_classes: int) -> nn.Module:
    """Declares twice the channels."""
    return _WithEncoder(in_channels, num_classes, (4, 16), (1, 2))


@planted("check_features", because=r"feature 1 of inputs of .* the declared stride")
def WrongStrides(in_channels: int, num_classes: int) -> nn.Module:
    """Declares a stride of four for two."""
    return _WithEncoder(in_channels, num_classes, (4, 8), (1, 4))


@planted("check_features", because=r"gives 2 features, 3 declared")
def MissingFeature(in_channels: int, num_classes: int) -> nn.Module:
    """Declares a level that is not there."""
    return _WithEncoder(in_channels, num_classes, (4, 8, 16), (1, 2, 4))


@planted("check_reset_classifier", because=r"buffers outside of the head .*encoder\.0\.1\.running_mean")
class ForgetsStatistics(Resettable):
    """Resets the running statistics of the body too."""

    def reset_head(self, num_classes: int) -> None:
        super().reset_head(num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()


@planted("check_freeze_encoder", because=r"some of the parameters of encoder\.0\.1")
class FreezesMatricesAlone(Freezable):
    """Freezes scales, and leaves offsets to learn."""

    def freeze_encoder(self) -> None:
        super().freeze_encoder()
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
