"""Each rewrite applies where it should, and keeps the function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unetzoo.optimization.program import export


class Decoder(nn.Module):
    """Halves the image, doubles it by nearest upsampling and convolves it with the skip."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.down = conv(2, 4, 3, stride=2, padding=1)
        self.up = conv(4 + 2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        up = functional.interpolate(self.down(x), scale_factor=2, mode="nearest")
        return self.up(torch.cat([up, x], 1))


class Head(nn.Module):
    """A 1x1 convolution behind bilinear upsampling."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="bilinear"))


class Repeated(nn.Module):
    """V-Net's first block: the image is added to every group of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 6, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x.repeat(1, 3, 1, 1, 1)


def normalized(conv: nn.Module, channels: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert values is not None
            values.uniform_(0.5, 2.0)
    return nn.Sequential(conv, norm, nn.Dropout(0.5))


@pytest.mark.parametrize(
    ("network", "shape", "applied"),
    [
        (normalized(nn.Conv2d(3, 8, 3), 8), (1, 3, 9, 11), {"normalizations folded": 1, "identities removed": 1}),
        (normalized(nn.Conv2d(4, 8, 3, groups=2), 8), (2, 4, 9, 11), {"normalizations folded": 1}),
        (normalized(nn.ConvTranspose2d(3, 8, 2, 2), 8), (1, 3, 9, 11), {"normalizations folded": 1}),
        (normalized(nn.ConvTranspose2d(4, 8, 2, 2, groups=2), 8), (1, 4, 9, 11), {"normalizations folded": 0}),
        (normalized(nn.ReLU(), 3), (1, 3, 9, 11), {"normalizations folded": 0}),
        (Decoder(2), (1, 2, 16, 24), {"sub-pixel convolutions": 1}),
        (Decoder(3), (1, 2, 8, 12, 16), {"sub-pixel convolutions": 1}),
        (Head(2), (1, 4, 9, 11), {"1x1 convolutions moved before upsampling": 1}),
        (Head(5), (1, 4, 9, 11), {"1x1 convolutions moved before upsampling": 0}),
        (Repeated(), (1, 2, 8, 8, 8), {"repeated inputs folded": 1}),
    ],
)
def test_a_rewrite_applies_where_it_should_and_keeps_the_function(
    network: nn.Module, shape: tuple[int, ...], applied: dict[str, int]
) -> None:
    network = network.eval()
    x = torch.randn(shape)
    program = export(network, x)
    assert {name: program.rewrites[name] for name in applied} == applied
    with torch.no_grad():
        torch.testing.assert_close(program.module(x), network(x), rtol=1e-4, atol=1e-5)


def test_a_convolution_whose_output_is_used_elsewhere_keeps_its_weights() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = normalized(nn.Identity(), 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    network, x = Shared().eval(), torch.randn(1, 3, 8, 8)
    program = export(network, x)
    assert program.rewrites["normalizations folded"] == 0
    torch.testing.assert_close(program.module(x), network(x))


def test_the_exported_network_stays_as_it_is() -> None:
    network = normalized(nn.Conv2d(3, 8, 3), 8).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export(network, torch.randn(1, 3, 9, 11))
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.requires_grad for parameter in network.parameters())
