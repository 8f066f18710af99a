"""ENet's bottleneck: the branch that is added, its kernels, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.blocks.enet import ENetBottleneck
from unetzoo.errors import ConfigError


def silenced(block: ENetBottleneck) -> ENetBottleneck:
    """Make the branch of convolutions give zero, so that the other one is seen."""
    norm = block.branch[-2].norm
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    return block.eval()


def test_downsampling_adds_the_pooled_input_with_zeros_for_the_new_channels():
    block = silenced(ENetBottleneck(2, 5, ndim=2, stride=2))
    x = torch.rand(1, 2, 6, 8)
    out = block(x)
    torch.testing.assert_close(out[:, :2], nn.functional.max_pool2d(x, 2))
    assert not out[:, 2:].any()


def test_an_asymmetric_bottleneck_has_one_long_convolution_an_axis():
    for ndim in (2, 3):
        block = ENetBottleneck(8, 8, ndim=ndim, asymmetric=5)
        long = [m.kernel_size for m in block.modules() if hasattr(m, "kernel_size") and max(m.kernel_size) == 5]
        assert long == [tuple(5 if axis == along else 1 for axis in range(ndim)) for along in range(ndim)]


def test_the_convolution_has_a_quarter_of_the_channels():
    widths = [m.out_channels for m in ENetBottleneck(16, 64, ndim=2).modules() if isinstance(m, nn.Conv2d)]
    assert widths == [16, 16, 64]


def test_fewer_channels_than_come_in_are_refused():
    with pytest.raises(ConfigError, match="cannot turn 8 into 4"):
        ENetBottleneck(8, 4, ndim=2)


def test_an_odd_size_is_rounded_up_so_that_its_last_row_counts() -> None:
    block = ENetBottleneck(8, 8, ndim=2, stride=2).eval()
    x = torch.randn(1, 8, 5, 7, requires_grad=True)
    y = block(x)
    assert y.shape[2:] == (3, 4)
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad[:, :, -1].any()
    assert x.grad[..., -1].any()
