"""Blocks that wrap another block: excited, projected, and the helper that builds blocks."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.blocks.excited import Excited
from unetzoo.blocks.identity import IdentityBlock
from unetzoo.blocks.making import level_options, make_block
from unetzoo.blocks.mednext import MedNeXt
from unetzoo.blocks.projected import Projected
from unetzoo.errors import ConfigError
from unetzoo.nn.excitation import ChannelExcitation


def test_an_excited_block_excites_its_input_or_its_output() -> None:
    first = Excited(4, 6, ndim=2, where="input", excitation={"name": "se", "reduction": 2})
    last = Excited(4, 6, ndim=2, where="output", excitation={"name": "se", "reduction": 2})
    assert isinstance(first[0], ChannelExcitation)
    assert first[0].expand.out_features == 4
    assert isinstance(last[1], ChannelExcitation)
    assert last[1].expand.out_features == 6


def test_an_excited_block_passes_the_stride_on() -> None:
    assert Excited(2, 3, ndim=2, stride=2, excitation={"name": "se", "reduction": 1})(
        torch.randn(2, 2, 7, 7)
    ).shape == (2, 3, 4, 4)


def test_a_projected_block_ends_with_a_plain_convolution() -> None:
    block = Projected(4, 2, ndim=3, block=DoubleConv, hidden=5)
    assert isinstance(block[1], nn.Conv3d)
    assert (block[1].in_channels, block[1].out_channels, block[1].bias is not None) == (5, 2, True)


def test_the_identity_block_refuses_other_channels() -> None:
    x = torch.randn(1, 3, 4, 4)
    assert IdentityBlock(3, 3, ndim=2)(x) is x
    with pytest.raises(ConfigError, match="3 channels into 4"):
        IdentityBlock(3, 4, ndim=2)


def test_a_block_is_asked_for_a_stride_only_where_there_is_one() -> None:
    plain = partial(Projected, block=DoubleConv)
    assert isinstance(make_block(plain, 2, 3, ndim=2, stride=(1, 1)), Projected)
    with pytest.raises(ConfigError, match="Projected does not change the size: it has no stride"):
        make_block(plain, 2, 3, ndim=2, stride=2)


def test_a_transposed_block_enlarges() -> None:
    assert make_block(MedNeXt, 2, 3, ndim=2, stride=2, transposed=True)(torch.randn(1, 2, 3, 4)).shape == (1, 3, 6, 8)


def test_options_per_level_need_one_value_a_level() -> None:
    assert level_options(None, 2) == [{}, {}]
    with pytest.raises(ConfigError, match="2 values of 'depth'"):
        level_options({"depth": [1, 2]}, 3)
