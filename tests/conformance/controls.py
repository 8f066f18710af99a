"""Sound networks of varied style: the suite must pass every one of them, with no capability declared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.conformance.networks import SmallUNet
from tests.conformance.unfamiliar import UNFAMILIAR


def plain(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes)


def three_dimensional(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, ndim=3, levels=2)


def one_dimensional(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, ndim=1)


def four_levels(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, levels=4)


def group_norm(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, norm=lambda c: nn.GroupNorm(2, c))


def instance_norm(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, norm=lambda c: nn.InstanceNorm2d(c, affine=True))


def no_norm(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, width=8, norm=lambda c: nn.Identity())


class _OwnBatchNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *known, self.training, self.momentum, self.eps)


def own_batch_norm(in_channels: int, num_classes: int) -> nn.Module:
    return SmallUNet(in_channels, num_classes, norm=_OwnBatchNorm)


class Dropout(SmallUNet):
    """Spatial dropout before the head."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.dropout = nn.Dropout2d(0.2)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.dropout(logits)


class FunctionalDropout(SmallUNet):
    """Dropout as a function, with the training flag."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return F.dropout(super().merge(y, skip, index), 0.1, self.training)


class Bilinear(SmallUNet):
    """Bilinear upsampling without aligned corners."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([y, skip], dim=1)


class AlignedCorners(SmallUNet):
    """Bilinear upsampling with aligned corners, as many published networks have it."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        y = F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([y, skip], dim=1)


class SelfAttention(SmallUNet):
    """Residual multi-head attention over the coarsest pixels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def encode(self, x: Tensor) -> list[Tensor]:
        *skips, last = super().encode(x)
        tokens = last.flatten(2).transpose(1, 2)
        mixed = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return [*skips, mixed.transpose(1, 2).reshape(last.shape)]


class AttentionGate(SmallUNet):
    """Skips weighted by a sigmoid gate."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.gates = nn.ModuleList(nn.Conv2d(a + b, 1, 1) for a, b in ((16, 8), (8, 4)))

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        both = super().merge(y, skip, index)
        gate = self.gates[index](both).sigmoid()
        return torch.cat([both[:, : y.shape[1]], gate * skip], dim=1)


class GlobalPooling(SmallUNet):
    """Squeeze and excitation at the bottom."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.SiLU(), nn.Conv2d(4, 16, 1))

    def encode(self, x: Tensor) -> list[Tensor]:
        *skips, last = super().encode(x)
        return [*skips, last * self.squeeze(last).sigmoid()]


class DeepSupervision(SmallUNet):
    """Logits of each decoder level in training mode, at input size."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.side = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        skips = self.encode(x)
        coarse = self.decoder[0](self.merge(skips[-1], skips[-2], 0))
        logits = self.head(self.decoder[1](self.merge(coarse, skips[-3], 1)))
        if not self.training:
            return logits
        return [logits, F.interpolate(self.side(coarse), size=x.shape[2:], mode="nearest")]


class DeepSupervisionOption(DeepSupervision):
    """The same, switched by the builder's option, each output at its own resolution."""

    def __init__(self, in_channels: int, num_classes: int, deep_supervision: bool = False) -> None:
        super().__init__(in_channels, num_classes)
        self.deep_supervision = deep_supervision
        if not deep_supervision:
            del self.side

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        skips = self.encode(x)
        coarse = self.decoder[0](self.merge(skips[-1], skips[-2], 0))
        logits = self.head(self.decoder[1](self.merge(coarse, skips[-3], 1)))
        return [logits, self.side(coarse)] if self.training and self.deep_supervision else logits


class ValidConvolutions(nn.Module):
    """The unpadded U-Net in small: every convolution crops, skips are cropped to match."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.first, self.second = self.block(in_channels, 4), self.block(4, 8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.last = self.block(8, 4)
        self.head = nn.Conv2d(4, num_classes, 1)

    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 3), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = self.first(x)
        y = self.up(self.second(F.max_pool2d(skip, 2)))
        top, left = ((s - t) // 2 for s, t in zip(skip.shape[2:], y.shape[2:], strict=True))
        skip = skip[:, :, top : top + y.shape[2], left : left + y.shape[3]]
        return self.head(self.last(torch.cat([skip, y], dim=1)))


class Residual(nn.Module):
    """Strided convolutions with residual additions, transposed convolutions, sizes in multiples of four."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(8, 8, 3, stride=2, padding=1) for _ in range(2))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.PReLU()) for _ in range(4)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(8, 8, 2, stride=2) for _ in range(2))
        self.head = nn.Conv2d(8, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)
        b = self.down[0](a)
        b = b + self.blocks[0](b)
        c = self.down[1](b)
        c = c + self.blocks[1](c)
        b = self.up[0](c) + b
        b = b + self.blocks[2](b)
        a = self.up[1](b) + a
        return self.head(a + self.blocks[3](a))


class Autoencoder(nn.Module):
    """No skips at all; any size."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.decode = nn.Conv2d(12, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.decode(self.encode(x)), size=x.shape[2:], mode="bilinear")


class Tokens(nn.Module):
    """Patch tokens with an interpolated position embedding, transformer layers, and a convolutional skip."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.patch = nn.Conv2d(8, 16, 4, stride=4)
        self.position = nn.Parameter(torch.randn(1, 16, 4, 4) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Conv2d(24, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        patches = self.patch(F.pad(skip, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4)))
        patches = patches + F.interpolate(self.position, size=patches.shape[2:], mode="bilinear")
        tokens = patches.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        y = self.norm(tokens).transpose(1, 2).reshape(patches.shape)
        y = F.interpolate(y, scale_factor=4, mode="nearest")[..., : x.shape[2], : x.shape[3]]
        return self.head(torch.cat([skip, y], dim=1))


class ConvNext(nn.Module):
    """Depthwise convolutions, channels-last layer norm, layer scale near zero, stochastic depth."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm = nn.LayerNorm(8)
        self.expand, self.shrink = nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.full((8,), 1e-6))
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = (self.scale * self.shrink(F.gelu(self.expand(y)))).permute(0, 3, 1, 2)
        if self.training:
            y = y * (torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) < 0.9) / 0.9
        return self.head(F.relu(x + y))


class ZeroHead(SmallUNet):
    """The head starts at zero."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class FocalPrior(SmallUNet):
    """The bias of the head starts at a foreground probability of one in a hundred."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        nn.init.constant_(self.head.bias, -4.6)


class WeightNorm(SmallUNet):
    """The head is reparametrised."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        parametrizations.weight_norm(self.head)


class InplaceActivations(SmallUNet):
    """In-place ReLU after each normalization."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True


CONTROLS: list[Callable[..., nn.Module]] = [
    plain,
    three_dimensional,
    one_dimensional,
    four_levels,
    group_norm,
    instance_norm,
    no_norm,
    own_batch_norm,
    Dropout,
    FunctionalDropout,
    Bilinear,
    AlignedCorners,
    SelfAttention,
    AttentionGate,
    GlobalPooling,
    DeepSupervision,
    DeepSupervisionOption,
    ValidConvolutions,
    Residual,
    Autoencoder,
    Tokens,
    ConvNext,
    ZeroHead,
    FocalPrior,
    WeightNorm,
    InplaceActivations,
    *UNFAMILIAR,
]
