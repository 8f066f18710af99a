"""Max unpooling at the maxima of other features."""

from __future__ import annotations

import torch

from unetzoo.nn.unpooling import max_unpool_like


def test_values_go_to_the_maxima_and_the_rest_is_zero():
    features = torch.tensor([[1.0, 9.0, 2.0, 0.0], [3.0, 4.0, 5.0, 7.0]])[None, None]
    out = max_unpool_like(torch.tensor([[10.0, 20.0]])[None, None], features, (2, 2))
    expected = torch.tensor([[0.0, 10.0, 0.0, 0.0], [0.0, 0.0, 0.0, 20.0]])[None, None]
    torch.testing.assert_close(out, expected)


def test_pooling_what_was_unpooled_gives_the_values_back():
    features, values = torch.randn(2, 3, 6, 4, 8), torch.rand(2, 3, 3, 2, 4) + 1
    out = max_unpool_like(values, features, (2, 2, 2))
    torch.testing.assert_close(torch.nn.functional.max_pool3d(out, 2), values)


def test_rows_that_pooling_left_out_at_odd_sizes_become_zero():
    features, values = torch.randn(1, 1, 5, 7), torch.rand(1, 1, 2, 3) + 1
    out = max_unpool_like(values, features, (2, 2))
    assert out.shape == features.shape
    assert not out[..., 4, :].any()
    assert not out[..., 6].any()
    torch.testing.assert_close(torch.nn.functional.max_pool2d(out, 2), values)


def test_no_gradient_reaches_the_features_whose_places_are_used():
    features = torch.randn(1, 1, 4, 4, requires_grad=True)
    values = torch.randn(1, 1, 2, 2, requires_grad=True)
    max_unpool_like(values, features, (2, 2)).sum().backward()
    assert features.grad is None
    torch.testing.assert_close(values.grad, torch.ones(1, 1, 2, 2))
