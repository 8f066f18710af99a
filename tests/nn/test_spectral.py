"""Hartley's transform, and pooling in its domain."""

from __future__ import annotations

import math

import pytest
import torch

from unetzoo.nn.resampling import make_downsample
from unetzoo.nn.spectral import hartley, spectral_pool


def test_the_transform_of_a_line_is_the_sum_with_hartleys_kernel():
    x = torch.randn(7, dtype=torch.float64)
    phases = 2 * math.pi * torch.outer(torch.arange(7), torch.arange(7)).double() / 7
    expected = (phases.cos() + phases.sin()) @ x
    torch.testing.assert_close(hartley(x.view(1, 1, 7)).flatten(), expected)


@pytest.mark.parametrize("size", [(8, 6), (5, 7), (3, 4, 5)])
def test_the_transform_twice_gives_the_image_times_its_number_of_pixels(size: tuple[int, ...]):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(hartley(hartley(x)), math.prod(size) * x)


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_pooling_to_the_same_size_changes_nothing(size: tuple[int, int]):
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(spectral_pool(x, size), x)


@pytest.mark.parametrize("target", [(4, 3), (5, 5), (1, 1)])
def test_pooling_keeps_the_mean(target: tuple[int, int]):
    x = torch.randn(1, 1, 11, 10, dtype=torch.float64)
    torch.testing.assert_close(spectral_pool(x, target).mean(), x.mean())


def test_a_wave_below_the_cut_is_sampled_and_one_above_vanishes():
    positions = torch.arange(16, dtype=torch.float64) / 16
    slow = torch.cos(2 * math.pi * 2 * positions).expand(1, 1, 16, 16)
    fast = torch.cos(2 * math.pi * 6 * positions).expand(1, 1, 16, 16)
    torch.testing.assert_close(spectral_pool(slow, (8, 8)), slow[..., ::2, ::2])
    torch.testing.assert_close(spectral_pool(fast, (8, 8)), torch.zeros(1, 1, 8, 8, dtype=torch.float64))


def test_half_precision_comes_back_as_half_precision():
    assert spectral_pool(torch.ones(1, 1, 8, 8, dtype=torch.bfloat16), (4, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize("ndim", [2, 3])
def test_hybrid_pooling_mixes_the_maxima_and_the_spectral_result(ndim: int):
    layer = make_downsample("hybrid", 2, 2, ndim=ndim)
    x = torch.randn(1, 2, *[6] * ndim)
    with torch.no_grad():
        weight = layer.conv.weight.flatten(1)
        both = torch.cat([layer.max(x), spectral_pool(x, (3,) * ndim)], dim=1)
        mixed = torch.einsum("oc,nc...->no...", weight, both) + layer.conv.bias.view(1, -1, *[1] * ndim)
        torch.testing.assert_close(layer(x), mixed, rtol=1e-5, atol=1e-5)
