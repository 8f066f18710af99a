"""Networks that begin with weights from which they cannot learn well."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


def _scaled(in_channels: int, num_classes: int, factor: float) -> nn.Module:
    model = SmallUNet(in_channels, num_classes)
    with torch.no_grad():
        model.head.weight.mul_(factor)
    return model


@planted("check_init_statistics", because=r"standard deviation of .* at head")
def ExplodingHead(in_channels: int, num_classes: int) -> nn.Module:
    """Draws the weights of its head a hundred times too large."""
    return _scaled(in_channels, num_classes, 300)


@planted("check_init_statistics", because=r"standard deviation of .* at head")
def VanishingHead(in_channels: int, num_classes: int) -> nn.Module:
    """Draws the weights of its head with a standard deviation of next to nothing."""
    return _scaled(in_channels, num_classes, 1e-4)


@planted("check_init_statistics", because=r"expected < 100")
class LargeBias(SmallUNet):
    """Begins with a bias of a thousand."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, 1000.0)


@planted("check_init_statistics", because=r"standard deviation of")
class UnnormalizedNormalInit(SmallUNet):
    """Draws every weight with a standard deviation of one, without normalization."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=lambda channels: nn.Identity())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight)


@planted("check_init_symmetry", because=r"encoder\.1\.0\.weight")
class ConstantInit(SmallUNet):
    """One convolution begins with one constant."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        nn.init.constant_(self.encoder[1][0].weight, 0.05)  # type: ignore[index, arg-type]


@planted("check_init_symmetry", because=r"upsample\.weight")
class EqualTransposedFilters(SmallUNet):
    """All output channels of a transposed convolution begin with the same filter."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.upsample = nn.ConvTranspose2d(num_classes, num_classes, 1)
        with torch.no_grad():
            self.upsample.weight.copy_(self.upsample.weight[:, :1].expand_as(self.upsample.weight))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.upsample(logits)


@planted("check_init_grad_scale", because=r"a ratio of")
class SaturatedGate(SmallUNet):
    """A gate whose sigmoid begins deep in saturation."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.gate = nn.Conv2d(num_classes, num_classes, 1)
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, 18.0)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * torch.sigmoid(self.gate(logits))


@planted("check_zero_init", because=r"adapter\.0\.weight, adapter\.1\.weight of 2 weights that begin at zero")
class TwiceZero(SmallUNet):
    """Both layers of its residual adapter begin at zero."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.adapter = nn.Sequential(nn.Conv2d(num_classes, 4, 1, bias=False), nn.Conv2d(4, num_classes, 1, bias=False))
        for layer in self.adapter:
            nn.init.zeros_(layer.weight)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.adapter(logits)


@planted("check_init_statistics", because="with num_classes=7 have a standard deviation")
class LoudWithManyClasses(SmallUNet):
    """Initializes its head by the fan-out, for more than two classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        if num_classes > 2:
            nn.init.normal_(self.head.weight, std=4.0 * num_classes)
