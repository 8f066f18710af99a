from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn.excitation import ChannelExcitation, SpatialChannelExcitation, make_excitation


def test_channel_excitation_scales_by_the_channels_means() -> None:
    layer = ChannelExcitation(2, reduction=1, bias=False)
    with torch.no_grad():
        layer.reduce.weight.copy_(torch.eye(2))
        layer.expand.weight.copy_(torch.eye(2))
    x = torch.tensor([[[1.0, 3.0], [-2.0, -4.0]]]).reshape(1, 2, 1, 2)
    # Means 2 and -3; the ReLU leaves 2 and 0, the sigmoid 0.880797 and 0.5.
    expected = x * torch.tensor([0.8807970779778823, 0.5]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(layer(x), expected)


def test_the_larger_of_channel_and_spatial_excitation_wins() -> None:
    layer = SpatialChannelExcitation(2, ndim=3, reduction=1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(layer.spatial.bias, 100.0)
    x = torch.randn(1, 2, 2, 3, 4)
    torch.testing.assert_close(layer(x), torch.maximum(0.5 * x, x))


@pytest.mark.parametrize("spec", ["sse", {"name": "se", "ratio": 4}])
def test_an_unknown_excitation_or_option_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        make_excitation(spec, 4, ndim=2)
