"""Sound networks in styles far from a U-Net's; the suite must pass them too."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.conformance.networks import SmallUNet


class _ResidualGroup(nn.Module):
    def __init__(self, channels: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.body = nn.Sequential(
            nn.GroupNorm(4, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(4, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.training:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.rate
            y = y * keep / (1 - self.rate)
        return x + y


class StochasticDepthResNet(nn.Module):
    """Pre-activation residual blocks with group normalization, dropped per sample in training mode."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.fine = _ResidualGroup(8, 0.1)
        self.down = nn.Conv2d(8, 16, 2, stride=2)
        self.coarse = nn.Sequential(_ResidualGroup(16, 0.2), _ResidualGroup(16, 0.3))
        self.up = nn.Conv2d(16, 8, 1)
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        a = self.fine(self.stem(F.pad(x, (0, w % 2, 0, h % 2), mode="replicate")))
        b = self.up(self.coarse(self.down(a)))
        return self.head(F.silu(a + F.interpolate(b, scale_factor=2.0, mode="nearest")))[..., :h, :w]


class LaplacianPyramid(nn.Module):
    """A small network for each band of a Laplacian pyramid; the predictions are added up from coarse to fine."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.bands = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, num_classes, 3, padding=1))
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for _ in range(2):
            levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
        y = self.bands[2](levels[2])
        for i in (1, 0):
            fine = levels[i]
            band = fine - F.interpolate(levels[i + 1], size=fine.shape[2:], mode="bilinear", align_corners=False)
            y = F.interpolate(y, size=fine.shape[2:], mode="bilinear", align_corners=False) + self.bands[i](band)
        return y


def sequential_only(in_channels: int, num_classes: int) -> nn.Module:
    """Nothing but nn.Sequential: dilated convolutions."""
    layers: list[nn.Module] = []
    c = in_channels
    for d in (1, 2, 4, 1):
        layers += [nn.Conv2d(c, 8, 3, padding=d, dilation=d, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.1)]
        c = 8
    return nn.Sequential(*layers, nn.Conv2d(8, num_classes, 1))


class PixelShuffleHead(nn.Module):
    """Works at a quarter of the resolution and shuffles channels into pixels; pads what does not divide."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * in_channels, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ELU(),
        )
        self.head = nn.Sequential(nn.Conv2d(16, 16 * num_classes, 1), nn.PixelShuffle(4))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % 4, 0, -h % 4))
        return self.head(self.body(x))[..., :h, :w]


class FourierMixing(nn.Module):
    """Filters every channel globally with learned complex weights over frequencies, interpolated to any size."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.filter = nn.Parameter(torch.randn(2, 8, 5, 5) * 0.3)
        self.mix = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = x.dtype in (torch.float16, torch.bfloat16)
        y = torch.fft.rfft2(self.norm(x).float() if half else self.norm(x), norm="ortho")
        weight = F.interpolate(self.filter.to(y.real.dtype), size=y.shape[2:], mode="bilinear", align_corners=False)
        y = torch.fft.irfft2(y * torch.complex(weight[0], weight[1]), s=x.shape[2:], norm="ortho").to(x.dtype)
        return self.head(F.gelu(x + self.mix(y)))


class SpectralNormed(nn.Module):
    """Spectrally normalized convolutions with instance normalization and average pooling."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        sn = parametrizations.spectral_norm
        self.a = nn.Sequential(
            sn(nn.Conv2d(in_channels, 8, 3, padding=1)), nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.2)
        )
        self.b = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), sn(nn.Conv2d(8, 8, 3, padding=1)), nn.LeakyReLU(0.2))
        self.head = nn.Conv2d(16, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        return self.head(torch.cat([a, F.interpolate(b, size=a.shape[2:], mode="bilinear", align_corners=False)], 1))


class _Window(nn.Module):
    def __init__(self, c: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(c)
        self.qkv = nn.Linear(c, 3 * c)
        self.out = nn.Linear(c, c)
        self.bias = nn.Parameter(torch.randn(heads, window**2, window**2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        k = self.window
        t = F.pad(x, (0, -w % k, 0, -h % k)).permute(0, 2, 3, 1)
        rows, columns = (s // k for s in t.shape[1:3])
        t = t.reshape(n, rows, k, columns, k, c).transpose(2, 3).reshape(-1, k * k, c)
        q, key, v = self.qkv(self.norm(t)).reshape(len(t), k * k, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, key, v, attn_mask=self.bias.to(q.dtype))
        y = self.out(y.transpose(1, 2).reshape(len(t), k * k, c))
        y = y.reshape(n, rows, columns, k, k, c).transpose(2, 3).reshape(n, rows * k, columns * k, c)
        return x + y.permute(0, 3, 1, 2)[..., :h, :w]


class WindowAttention(nn.Module):
    """Attention within windows of four by four with a learned position bias, padded at the end."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.blocks = nn.Sequential(_Window(16, 2, 4), _Window(16, 4, 4))
        self.mlp = nn.Sequential(nn.Conv2d(16, 32, 1), nn.GELU(), nn.Conv2d(32, 16, 1))
        self.head = nn.Conv2d(16, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        return self.head(x + self.mlp(x))


class _ShiftedWindow(_Window):
    """Windows over the borders of others, by rolling the image; pixels that rolling made neighbors are masked."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        k, s = self.window, self.window // 2
        x = F.pad(x, (0, -w % k, 0, -h % k)).roll((-s, -s), (2, 3))
        rows, columns = (size // k for size in x.shape[2:])
        sides = [torch.arange(size, device=x.device) >= size - s for size in x.shape[2:]]
        regions = self._windows((2 * sides[0][:, None] + sides[1]).view(1, 1, *x.shape[2:]).repeat(n, 1, 1, 1))
        t = self._windows(x)
        q, key, v = self.qkv(self.norm(t)).reshape(len(t), k * k, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        apart = (regions != regions.transpose(1, 2))[:, None]
        scores = q @ key.transpose(-1, -2) * (c // self.heads) ** -0.5 + self.bias
        y = scores.masked_fill(apart, float("-inf")).softmax(-1) @ v
        y = self.out(y.transpose(1, 2).reshape(len(t), k * k, c)).reshape(n, rows, columns, k, k, c).transpose(2, 3)
        y = x + y.reshape(n, rows * k, columns * k, c).permute(0, 3, 1, 2)
        return y.roll((s, s), (2, 3))[..., :h, :w]

    def _windows(self, x: Tensor) -> Tensor:
        k = self.window
        t = x.unflatten(2, (-1, k)).unflatten(4, (-1, k))  # n, c, rows, k, columns, k
        return t.permute(0, 2, 4, 3, 5, 1).reshape(-1, k * k, x.shape[1])


class ShiftedWindowAttention(nn.Module):
    """Patches of two by two pixels; attention within windows of them, then within windows shifted by half of one."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 2, stride=2)
        self.blocks = nn.Sequential(_Window(16, 2, 4), _ShiftedWindow(16, 2, 4))
        self.head = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return self.head(self.blocks(self.stem(F.pad(x, (0, w % 2, 0, h % 2)))))[..., :h, :w]


class LinearAttention(nn.Module):
    """Attention without softmax, its keys and values from patches of eight by eight pixels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU())
        self.query = nn.Conv2d(8, 16, 1)
        self.patches = nn.Conv2d(8, 24, 8, stride=8)
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h, w = x.shape[2:]
        query = F.elu(self.query(x)).flatten(2) + 1
        key, value = self.patches(F.pad(x, (0, -w % 8, 0, -h % 8))).flatten(2).split((16, 8), dim=1)
        key = F.elu(key) + 1
        context = (key / key.sum(2, keepdim=True)) @ value.transpose(1, 2)
        return self.head(x + (context.transpose(1, 2) @ query).unflatten(2, (h, w)))


class CoordinateNet(nn.Module):
    """Appends normalized coordinates, gates channels by global pooling, and pools by ceiling."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(in_channels + 2, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.gate = nn.Linear(8, 8)
        self.head = nn.Conv2d(8, num_classes, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        ys = torch.linspace(-1, 1, h, dtype=x.dtype, device=x.device).view(1, 1, h, 1).expand(n, 1, h, w)
        xs = torch.linspace(-1, 1, w, dtype=x.dtype, device=x.device).view(1, 1, 1, w).expand(n, 1, h, w)
        a = F.softplus(self.a(torch.cat([x, ys, xs], 1)))
        a = a * self.gate(a.mean((2, 3))).sigmoid()[..., None, None]
        return self.head(F.mish(self.b(a)) + a)


class Separable3d(nn.Module):
    """Three-dimensional with in-plane and through-plane convolutions and anisotropic pooling."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Sequential(
            nn.Conv3d(in_channels, 8, (1, 3, 3), padding=(0, 1, 1)),
            nn.InstanceNorm3d(8, affine=True),
            nn.ReLU(),
            nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0)),
            nn.ReLU(),
        )
        self.b = nn.Sequential(
            nn.MaxPool3d((1, 2, 2)), nn.Conv3d(8, 16, 3, padding=1), nn.InstanceNorm3d(16, affine=True), nn.ReLU()
        )
        self.up = nn.ConvTranspose3d(16, 8, (1, 2, 2), stride=(1, 2, 2))
        self.head = nn.Conv3d(16, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        return self.head(torch.cat([a, self.up(self.b(a))], 1))


class FlatPooling(nn.Module):
    """A volume that is pooled within its slices alone."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv3d(in_channels, 4, 3, padding=1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv3d(4, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv3d(12, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.coarse(F.max_pool3d(fine, (1, 2, 2), ceil_mode=True))
        return self.head(torch.cat([fine, F.interpolate(coarse, size=x.shape[2:])], dim=1))


class TwoBranches(nn.Module):
    """Details at half the size, context at an eighth, each channel of which is weighed on the way."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.detail = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(i, 8, 3, stride=2, padding=1) for i in (in_channels, 8, 8))
        self.weigh = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(16 + in_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        context = F.silu(self.down[1](F.silu(self.down[0](x))))
        context = context * self.weigh(context.mean((2, 3), keepdim=True)).sigmoid()
        parts = [F.silu(self.detail(x)), F.silu(self.down[2](context))]
        return self.head(torch.cat([x, *(F.interpolate(part, size=x.shape[2:]) for part in parts)], dim=1))


class PoolsByFour(nn.Module):
    """A signal whose first pooling is by four and the next by two."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        widths = [in_channels, 8, 8, 8]
        self.levels = nn.ModuleList(nn.Conv1d(i, o, 3, padding=1) for i, o in pairwise(widths))
        self.head = nn.Conv1d(24, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.silu(self.levels[0](x))
        middle = F.silu(self.levels[1](F.avg_pool1d(fine, 4, ceil_mode=True)))
        coarse = F.silu(self.levels[2](F.avg_pool1d(middle, 2, ceil_mode=True)))
        up = F.interpolate(coarse, size=middle.shape[2:])
        decoded = F.interpolate(torch.cat([middle, up], dim=1), size=x.shape[2:])
        return self.head(torch.cat([fine, decoded], dim=1))


class _FixedNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = (t.view(-1, *[1] * (x.dim() - 2)) for t in (self.running_mean, self.running_var))
        return (x - mean) * (var + 1e-5).rsqrt()


def fixed_norms(in_channels: int, num_classes: int) -> nn.Module:
    """Statistics that are never taken anew, as in the backbones of detectors."""
    return SmallUNet(in_channels, num_classes, norm=_FixedNorm)


UNFAMILIAR: list[Callable[..., nn.Module]] = [
    StochasticDepthResNet,
    LaplacianPyramid,
    sequential_only,
    PixelShuffleHead,
    FourierMixing,
    SpectralNormed,
    WindowAttention,
    ShiftedWindowAttention,
    LinearAttention,
    CoordinateNet,
    Separable3d,
    FlatPooling,
    TwoBranches,
    PoolsByFour,
    fixed_norms,
]
