"""The residual U-block: its parameters, its reach, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.blocks.rsu import RSU
from unetzoo.errors import ConfigError


def convolutions(block: nn.Module) -> list[tuple[int, int, int]]:
    return [(c.in_channels, c.out_channels, c.dilation[0]) for c in block.modules() if isinstance(c, nn.Conv2d)]


def test_rsu_7_has_the_convolutions_of_the_papers_figure_2():
    # RSU-L(C_in, M, C_out): in, six on the way down, the dilated bottom, six on the way up.
    down = [(64, 32, 1), *[(32, 32, 1)] * 5, (32, 32, 2)]
    up = [*[(64, 32, 1)] * 5, (64, 64, 1)]
    assert convolutions(RSU(3, 64, ndim=2, height=7, mid=32)) == [(3, 64, 1), *down, *up]


def test_rsu_4f_dilates_by_1_2_4_8_and_4_2_1_instead_of_pooling():
    block = RSU(512, 512, ndim=2, height=4, mid=256, dilated=True)
    assert [dilation for _, _, dilation in convolutions(block)] == [1, 1, 2, 4, 8, 4, 2, 1]
    assert not [module for module in block.modules() if isinstance(module, nn.MaxPool2d)]


def test_the_result_is_added_to_the_first_convolutions_output():
    block = RSU(2, 4, ndim=2, height=3).eval()
    nn.init.zeros_(block.up[-1].conv.weight)
    nn.init.zeros_(block.up[-1].norm.weight)
    x = torch.randn(1, 2, 9, 7)
    torch.testing.assert_close(block(x), block.entry(x))


@pytest.mark.parametrize(("ndim", "size"), [(2, (1, 5)), (2, (13, 7)), (3, (5, 6, 3))])
@pytest.mark.parametrize("dilated", [False, True])
def test_any_size_comes_back(ndim: int, size: tuple[int, ...], dilated: bool):
    block = RSU(2, 3, ndim=ndim, height=4, dilated=dilated).eval()
    assert block(torch.randn(1, 2, *size)).shape == (1, 3, *size)


def test_every_height_adds_a_level_of_half_the_resolution():
    for height in (4, 5, 6):
        sizes: list[int] = []
        block = RSU(1, 2, ndim=2, height=height).eval()
        for conv in block.down:
            conv.register_forward_hook(lambda module, inputs, output, sizes=sizes: sizes.append(output.shape[-1]))
        block(torch.randn(1, 1, 64, 64))
        assert sizes == [*(64 // 2**level for level in range(height - 1)), 64 // 2 ** (height - 2)]


def test_what_cannot_be_added_or_has_no_middle_is_refused():
    with pytest.raises(ConfigError, match="padding"):
        RSU(1, 2, ndim=2, padding="valid")
    with pytest.raises(ConfigError, match="height is 2"):
        RSU(1, 2, ndim=2, height=2)
    with pytest.raises(ConfigError, match="dilated"):
        RSU(1, 2, ndim=2, dilation=2)
