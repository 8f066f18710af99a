"""Inception blocks: how channels are divided, what each branch sees, and what is refused."""

from __future__ import annotations

import pytest
import torch

from unetzoo.blocks.inception import DilatedInception, Inception
from unetzoo.errors import ConfigError


def reaches(block: torch.nn.Module) -> list[int]:
    """How far from the middle each output channel sees."""
    x = torch.randn(1, 2, 41, 41, requires_grad=True)
    out = block.eval()(x)
    found = []
    for channel in range(out.shape[1]):
        (gradient,) = torch.autograd.grad(out[0, channel, 20, 20], x, retain_graph=True)
        seen = gradient[0].abs().sum((0, 1)).nonzero().flatten()
        found.append(int((seen - 20).abs().max()))
    return found


def test_the_branches_of_an_inception_layer_see_1_3_5_and_3_pixels():
    torch.manual_seed(0)
    block = Inception(2, 4, ndim=2, activation="none")
    one, three, five, pooled = reaches(block)
    assert (one, three, five) == (0, 1, 2)
    assert pooled in (0, 1)
    assert [branch.out_channels for branch in (b.conv for b in list(block.branches)[:3])] == [1, 1, 1]


def test_the_branches_of_the_dilated_block_see_as_far_as_their_dilation():
    assert reaches(DilatedInception(2, 3, ndim=2, dilations=[1, 3, 7], activation="none")) == [1, 3, 7]


def test_channels_that_do_not_divide_go_to_the_first_branches():
    block = Inception(3, 10, ndim=3)
    x = torch.randn(2, 3, 4, 5, 6)
    assert [branch(x).shape[1] for branch in block.branches] == [3, 3, 2, 2]
    assert block(x).shape == (2, 10, 4, 5, 6)


def test_what_comes_in_is_normalized_before_the_branches():
    block = Inception(2, 4, ndim=2, norm="instance").eval()
    x = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(block(5 * x + 3), block(x), rtol=1e-3, atol=1e-4)


def test_fewer_channels_than_branches_are_refused():
    with pytest.raises(ConfigError, match="3 channels cannot be divided among 4"):
        Inception(2, 3, ndim=2)
    with pytest.raises(ConfigError, match="dilations"):
        DilatedInception(2, 4, ndim=2, dilations=[])
