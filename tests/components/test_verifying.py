"""Parts of other distributions that break the interface of their kind are refused by name while a model is built."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import unetzoo
from unetzoo import PluginError

pytestmark = pytest.mark.usefixtures("clean_registry")


class Encoder(nn.Module):
    """A sound encoder of two levels; subclasses break one thing each."""

    def __init__(self, in_channels: int, *, ndim: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.coarse = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.channels, self.strides = [4, 8], [1, 2]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        fine = self.fine(x)
        return [fine, self.coarse(fine)]


class NoChannels(Encoder):
    def __init__(self, in_channels: int, *, ndim: int) -> None:
        super().__init__(in_channels, ndim=ndim)
        del self.channels


class OneTensor(Encoder):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[-1]


class OtherWidths(Encoder):
    def __init__(self, in_channels: int, *, ndim: int) -> None:
        super().__init__(in_channels, ndim=ndim)
        self.channels = [4, 16]


class OtherStrides(Encoder):
    def __init__(self, in_channels: int, *, ndim: int) -> None:
        super().__init__(in_channels, ndim=ndim)
        self.strides = [1, 4]


class TooFewStrides(Encoder):
    def __init__(self, in_channels: int, *, ndim: int) -> None:
        super().__init__(in_channels, ndim=ndim)
        self.strides = [1]


class Pooling(nn.MaxPool2d):
    def __init__(self, channels: int, *, ndim: int) -> None:
        super().__init__(2)


class Passing(nn.Module):
    def __init__(self, channels: list[int], strides: list[int], *, ndim: int) -> None:
        super().__init__()
        self.channels, self.strides = [channels[0] + 1], [strides[0]]

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return features[:1]


class OneLogit(nn.Module):
    def __init__(self, channels: list[int], strides: list[int], num_classes: int, *, ndim: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(channels[0], 1, 1)

    def forward(self, features: list[torch.Tensor], size: list[int]) -> torch.Tensor:
        return self.logits(features[0])


class Strided(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, ndim: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)


def test_a_sound_encoder_of_a_third_party_is_taken() -> None:
    unetzoo.register("encoder", "sound", Encoder)
    assert unetzoo.create("unet", encoder="sound", num_classes=3)(torch.ones(1, 3, 9, 7)).shape == (1, 3, 9, 7)


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("encoder", NoChannels, "has no channels, which say the width"),
        ("encoder", OneTensor, "returned a Tensor; expected a list of tensors"),
        ("encoder", OtherWidths, r"channels \[4, 16\] and strides \[1, 2\] expected .*2 x 16 x 2 x 2"),
        ("encoder", OtherStrides, r"strides \[1, 4\] expected"),
        ("encoder", TooFewStrides, "2 channels and 1 strides; expected one per level"),
        ("center", Pooling, "a center keeps the shape"),
        ("decoder", Passing, "expected 2 x 65 x"),
        ("head", OneLogit, "returned 1 channels of logits; expected num_classes=5"),
    ],
)
def test_a_part_that_breaks_its_interface_is_named(kind: str, part: Callable[..., nn.Module], message: str) -> None:
    unetzoo.register(kind, "broken", part)
    with pytest.raises(PluginError, match=f"{kind} 'broken' of runtime: .*{message}"):
        unetzoo.create("unet", num_classes=5, **{kind: "broken"})


def test_a_block_that_changes_the_size_is_named() -> None:
    unetzoo.register("block", "shrinking", Strided)
    with pytest.raises(PluginError, match=r"block 'shrinking' of runtime: turned 3 channels of 16 x 16 pixels into"):
        unetzoo.create("unet", block="shrinking", encoder={"channels": [4, 8]})
