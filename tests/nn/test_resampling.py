"""Cropping, fitting and interpolating to a size, against hand calculations."""

from __future__ import annotations

import pytest
import torch

from unetzoo.nn.resampling import Upsample, center_crop, fit, interpolate, interpolate_antialiased


def line(length: int) -> torch.Tensor:
    return torch.arange(1.0, length + 1).reshape(1, 1, 1, length)


@pytest.mark.parametrize(
    ("length", "size", "expected"),
    [(7, 3, [3, 4, 5]), (8, 4, [3, 4, 5, 6]), (7, 4, [2, 3, 4, 5]), (5, 5, [1, 2, 3, 4, 5])],
)
def test_a_crop_keeps_the_middle(length, size, expected):
    assert center_crop(line(length), (1, size)).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("length", "size", "expected"),
    [(3, 4, [1, 2, 3, 0]), (2, 5, [0, 1, 2, 0, 0]), (4, 3, [1, 2, 3]), (6, 3, [2, 3, 4]), (3, 3, [1, 2, 3])],
)
def test_fitting_pads_and_crops_one_more_at_the_end(length, size, expected):
    assert fit(line(length), (1, size)).flatten().tolist() == expected


def test_upsampling_goes_by_the_factor_or_straight_to_a_size():
    up = Upsample("nearest", 1, 1, (1, 2), ndim=2)
    assert up(line(3)).flatten().tolist() == [1, 1, 2, 2, 3, 3]
    assert up(line(3), (1, 5)).flatten().tolist() == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("size", [(5, 6), (5, 6, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_pixel_counts_in_an_antialiased_smaller_image(size: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, *[7 * side for side in size], dtype=dtype, requires_grad=True)
    out = interpolate_antialiased(x, size)
    assert (out.shape, out.dtype) == ((1, 2, *size), dtype)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert bool((gradient > 0).all())


@pytest.mark.parametrize("size", [(9, 14), (9, 7, 8)])
def test_antialiasing_changes_no_larger_image(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *[side - 3 for side in size], dtype=torch.float64)
    torch.testing.assert_close(interpolate_antialiased(x, size), interpolate(x, size), rtol=0, atol=1e-12)
