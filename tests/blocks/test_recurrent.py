"""The recurrent residual block, unrolled by hand."""

from __future__ import annotations

import pytest
import torch

from unetzoo.blocks.recurrent import Recurrent, RecurrentConv
from unetzoo.errors import ConfigError


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_convolution_of_one_weight_gives_a_geometric_sum(steps):
    layer = RecurrentConv(1, ndim=2, steps=steps, kernel_size=1, norm="none", activation="none", bias=False)
    torch.nn.init.constant_(layer.conv.conv.weight, 0.5)
    expected = sum(0.5**k for k in range(1, steps + 2))
    torch.testing.assert_close(layer(torch.ones(1, 1, 3, 3)), torch.full((1, 1, 3, 3), expected))


def test_the_shortcut_begins_behind_the_projection():
    torch.manual_seed(0)
    block = Recurrent(3, 5, ndim=3, steps=1).eval()
    x = torch.randn(2, 3, 4, 5, 6)
    projected = block.project(x)
    torch.testing.assert_close(block(x), projected + block.recurrent(projected))


def test_the_parameters_do_not_depend_on_the_steps():
    sizes = {sum(p.numel() for p in Recurrent(3, 5, ndim=2, steps=steps).parameters()) for steps in (1, 2, 3)}
    assert len(sizes) == 1


def test_unpadded_convolutions_are_refused():
    with pytest.raises(ConfigError, match="needs 'same'"):
        Recurrent(3, 5, ndim=2, padding="valid")
