"""Small networks whose tiled prediction is tested; each has one property that tiling must respect."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inside: int, outside: int, ndim: int = 2, stride: int = 1, dilation: int = 1) -> nn.Module:
    kind = nn.Conv2d if ndim == 2 else nn.Conv3d
    return kind(inside, outside, 3, stride=stride, padding=dilation, dilation=dilation)


class Plain(nn.Module):
    """Two convolutions that see three pixels to each side."""

    def __init__(self, ndim: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(3, 4, ndim), nn.ReLU(inplace=True), conv(4, 2, ndim, dilation=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Deep(nn.Module):
    """A U-Net of strided convolutions to stride `2**depth`, residual in place, with channel attention at the bottom."""

    def __init__(self, depth: int = 5, ndim: int = 2) -> None:
        super().__init__()
        self.stem = conv(3, 4, ndim)
        self.down = nn.ModuleList(conv(4, 4, ndim, stride=2) for _ in range(depth))
        self.same = nn.ModuleList(conv(4, 4, ndim) for _ in range(depth))
        self.up = nn.ModuleList(conv(8, 4, ndim) for _ in range(depth))
        self.head = conv(4, 2, ndim)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for down, same in zip(self.down, self.same, strict=True):
            x = F.relu(down(features[-1]), inplace=True)
            y = same(x)
            y += x
            features.append(F.relu(y, inplace=True))
        x = features.pop()
        x = x * x.mean(dim=tuple(range(2, x.ndim)), keepdim=True).sigmoid()
        for up in self.up:
            skip = features.pop()
            x = F.relu(up(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1)))
        return self.head(x)


class Resized(nn.Module):
    """Half-size features brought back to whatever the image's size is: off the stride by an uneven factor."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv(3, 2), conv(2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        return fine + F.interpolate(self.coarse(fine), size=x.shape[2:], mode="bilinear")


class Nested(nn.Module):
    """Two deep networks one after the other: coarse maps feed fine ones that feed coarse ones, as in U2-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.between, self.second = Deep(4), conv(2, 3), Deep(4)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.between(self.first(x))
        return self.second(fine) + self.first(fine)


class FullScale(nn.Module):
    """A coarse map of pooled fine ones and a coarser one, as in UNet 3+; in chunks, so that one call gives two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.deep = conv(3, 4), conv(4, 4, stride=2), conv(4, 4, stride=2)
        self.join, self.head = conv(12, 4), conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        finest = self.stem(x)
        middle = self.down(finest).relu()
        coarse = self.deep(middle).relu()
        joined = self.join(
            torch.cat([F.max_pool2d(finest, 2), middle, F.interpolate(coarse, scale_factor=2.0, mode="bilinear")], 1)
        )
        left, right = joined.chunk(2, 1)
        pooled = F.max_pool2d(F.interpolate(left * right, scale_factor=2.0), 2)
        return self.head(F.interpolate(torch.cat([pooled, left], 1), scale_factor=2.0))


class LooksAhead(nn.Module):
    """Sees up to five pixels to one side along the last axis, and nothing to the other."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.sides = (left, right)
        self.layer = nn.Conv2d(3, 2, (1, left + right + 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.pad(x, self.sides))


class InPlace(nn.Module):
    """A coarse map that is changed in place and taken up again after a way through fine maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.bottom = conv(3, 4), conv(4, 4, stride=2), conv(4, 4)
        self.again, self.head = conv(4, 4, stride=2), conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        coarse = self.down(x)
        coarse += 1
        x = x + F.interpolate(self.bottom(coarse), scale_factor=2.0)
        return self.head(F.interpolate(self.again(x) + coarse, scale_factor=2.0))


class Unpadded(nn.Module):
    """One level of a U-Net of unpadded convolutions, which takes 10 pixels off each side."""

    def __init__(self) -> None:
        super().__init__()
        self.top, self.bottom, self.head = nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 5), nn.Conv2d(8, 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        top = self.top(x).relu()
        bottom = F.interpolate(self.bottom(F.max_pool2d(top, 2)).relu(), scale_factor=2.0)
        margin = (top.shape[2] - bottom.shape[2]) // 2
        return self.head(torch.cat([top[:, :, margin:-margin, margin:-margin], bottom], 1))


class Normalized(nn.Module):
    """A convolution whose output is normalized by the image's own statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(3, 2), nn.InstanceNorm2d(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Stretched(nn.Module):
    """Upsampling with aligned corners, whose sampling points depend on the image's size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = conv(3, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.down(x), scale_factor=2.0, mode="bilinear", align_corners=True)
