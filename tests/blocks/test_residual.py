from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unetzoo.blocks.residual import Residual
from unetzoo.errors import ConfigError


def silence(block: Residual) -> Residual:
    """Make the convolutions' branch zero, so that the shortcut alone is left."""
    for module in block.convs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return block.eval()


def test_an_order_that_ends_with_the_activation_activates_the_sum() -> None:
    x = torch.randn(2, 3, 5, 7)
    block = silence(Residual(3, 3, ndim=2, order="cna", norm="none", bias=True))
    torch.testing.assert_close(block(x), x.relu())


@pytest.mark.parametrize("order", ["nac", "can"])
def test_another_order_leaves_the_sum_as_it_is(order: str) -> None:
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(silence(Residual(3, 3, ndim=2, order=order, norm="none", bias=True))(x), x)


def test_the_shortcut_first_projects_once_and_keeps_the_shape_afterwards() -> None:
    x = torch.randn(1, 2, 6, 4)
    block = silence(
        Residual(2, 5, ndim=2, stride=2, shortcut={"name": "first", "kernel_size": 2}, norm="none", bias=True)
    )
    projection = block.project.get_submodule("conv")
    torch.testing.assert_close(block(x), F.conv2d(x, projection.weight, projection.bias, stride=2).relu())
    assert [conv.conv.in_channels for conv in block.convs] == [5, 5]


def test_the_shortcut_repeat_cycles_through_the_input_channels() -> None:
    x = torch.randn(1, 3, 4, 4)
    block = silence(Residual(3, 8, ndim=2, depth=1, shortcut="repeat", order="nac", norm="none", bias=True))
    torch.testing.assert_close(block(x), x[:, [0, 1, 2, 0, 1, 2, 0, 1]])


def test_the_pooled_shortcut_averages_what_the_stride_leaves_out() -> None:
    x = torch.arange(15.0).reshape(1, 1, 3, 5)
    block = silence(
        Residual(1, 1, ndim=2, stride=2, shortcut={"name": "projection", "pool": True}, norm="none", bias=True)
    )
    # The last row and column have no partner: ceil rounds up and averages what is there.
    torch.testing.assert_close(block(x), torch.tensor([[[[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]]]))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("shortcut", ["projection", "first", {"name": "projection", "pool": True}])
def test_a_stride_rounds_the_size_up(ndim: int, shortcut: str) -> None:
    block = Residual(2, 4, ndim=ndim, stride=2, shortcut=shortcut)
    assert block(torch.randn(2, 2, *[7] * ndim)).shape == (2, 4, *[4] * ndim)


def test_zero_init_starts_a_block_as_its_shortcut() -> None:
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(Residual(3, 3, ndim=2, zero_init=True)(x), x.relu())


def test_raw_input_reaches_the_first_convolution_unchanged() -> None:
    block = Residual(1, 4, ndim=2, order="nac", raw_input=True)
    assert [type(layer) for layer in block.convs[0]] == [nn.Conv2d]
    assert [type(layer) for layer in block.convs[1]] == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d]


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "valid"},
        {"depth": 0},
        {"shortcut": "projektion"},
        {"shortcut": {"name": "projection", "kernal_size": 3}},
        {"shortcut": "repeat", "stride": 2},
    ],
)
def test_what_cannot_work_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        Residual(2, 4, ndim=2, **options)
