from __future__ import annotations

import pytest
import torch

from unetzoo.decoders.full_scale import FullScaleDecoder
from unetzoo.errors import ConfigError


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_node_has_its_levels_size_and_sees_every_level(ndim: int) -> None:
    sizes = [13, 6, 3]
    features = [
        torch.randn(1, width, *[size] * ndim, requires_grad=True) for width, size in zip([3, 4, 5], sizes, strict=True)
    ]
    decoder = FullScaleDecoder([3, 4, 5], [1, 2, 4], ndim=ndim, width=2, norm="none")
    decoded = decoder(features)
    assert decoder.channels == [6, 6, 5]
    assert [tuple(x.shape[1:]) for x in decoded] == [
        (width, *[size] * ndim) for width, size in zip([6, 6, 5], sizes, strict=True)
    ]
    for x in decoded[:-1]:
        gradients = torch.autograd.grad(x.square().sum(), features, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)


def test_the_coarsest_features_are_handed_on_as_they_are() -> None:
    features = [torch.randn(1, 3, 8, 8), torch.randn(1, 5, 4, 4)]
    assert FullScaleDecoder([3, 5], [1, 2], ndim=2)(features)[-1] is features[-1]


def test_finer_levels_are_pooled_by_the_maximum() -> None:
    decoder = FullScaleDecoder([1, 1, 1], [1, 2, 4], ndim=2, width=1, norm="none")
    node = decoder.nodes[0]
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 5, 2] = 7.0
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 2, 1] = 7.0
    assert node.level == 1
    torch.testing.assert_close(node.pools[0](x), expected)


def test_a_single_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two levels"):
        FullScaleDecoder([4], [1], ndim=2)
