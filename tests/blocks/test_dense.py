"""Dense layers: what each layer takes, and what comes out."""

from __future__ import annotations

import pytest
import torch

from unetzoo.blocks.dense import Dense, DenseLayers
from unetzoo.errors import ConfigError


def test_each_layer_takes_the_input_and_all_layers_before():
    layers = DenseLayers(5, ndim=2, depth=3, growth=2)
    assert [layer.conv.in_channels for layer in layers.layers] == [5, 7, 9]
    assert [layer.norm.num_features for layer in layers.layers] == [5, 7, 9]


@pytest.mark.parametrize(("only_new", "channels"), [(False, 11), (True, 6)])
def test_the_input_comes_out_first_unless_only_the_new_channels_are_asked_for(only_new: bool, channels: int):
    layers = DenseLayers(5, ndim=2, depth=3, growth=2, only_new=only_new).eval()
    x = torch.randn(1, 5, 6, 7)
    out = layers(x)
    assert out.shape[1] == layers.out_channels == channels
    assert torch.equal(out[:, :5], x) == (not only_new)


def test_the_block_ends_in_the_width_asked_for():
    assert Dense(3, 10, ndim=3, depth=4).eval()(torch.randn(1, 3, 4, 4, 4)).shape == (1, 10, 4, 4, 4)


def test_what_cannot_be_concatenated_is_refused():
    with pytest.raises(ConfigError, match="padding"):
        Dense(3, 8, ndim=2, padding="valid")
    with pytest.raises(ConfigError, match="depth is 0"):
        Dense(3, 8, ndim=2, depth=0)
