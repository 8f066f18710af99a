"""Transposed convolutions that start as linear interpolation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.nn.bilinear import bilinear_


def upsampler(ndim: int, factor: int) -> nn.Module:
    layer = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[ndim](2, 2, 2 * factor, factor, factor // 2, bias=False)
    bilinear_(layer.get_parameter("weight"))
    return layer


@pytest.mark.parametrize(("ndim", "factor"), [(2, 2), (2, 8), (3, 2)])
def test_a_constant_image_stays_constant_inside(ndim: int, factor: int):
    constant = torch.stack([torch.full((4,) * ndim, 3.0), torch.full((4,) * ndim, -1.0)])[None]
    with torch.no_grad():
        out = upsampler(ndim, factor)(constant)
    inside = out[(..., *[slice(factor, -factor)] * ndim)]
    expected = torch.tensor([3.0, -1.0]).view(1, 2, *[1] * ndim).expand_as(inside)
    torch.testing.assert_close(inside, expected)


def test_a_ramp_stays_a_ramp_of_the_finer_step():
    ramp = torch.arange(6.0).expand(1, 2, 6, 6)
    with torch.no_grad():
        out = upsampler(2, 4)(ramp)[0, 0, 10, 4:-4]
    torch.testing.assert_close(out.diff(), torch.full((15,), 0.25))
    # The center of output pixel 4 lies at (4 + 0.5) / 4 - 0.5 input pixels.
    assert out[0].item() == pytest.approx(0.625)


def test_the_kernel_of_four_is_the_one_that_the_paper_prints():
    weight = bilinear_(torch.empty(1, 1, 4, 4))[0, 0]
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(weight, torch.outer(line, line))


def test_channels_do_not_mix():
    weight = bilinear_(torch.ones(3, 3, 4, 4))
    assert not weight[0, 1].any()
    assert weight[2, 2].sum().item() == pytest.approx(4.0)
