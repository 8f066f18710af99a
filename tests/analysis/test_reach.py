from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.analysis.reach import Strips, extent, measure_halo, measure_radius

# kernels of 3, and of 3 dilated by 2, along the first axis: 1 + 2 pixels; a kernel of 5 along the second: 2 pixels
SEES_3_BY_2 = nn.Sequential(
    nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), nn.Conv2d(1, 1, (3, 5), padding=(2, 2), dilation=(2, 1))
).double()


def test_the_radius_is_the_sum_of_the_kernels_halves():
    blocks = {0: (10, 2), 1: (10, 2)}
    assert measure_radius(SEES_3_BY_2, (1, 1, 22, 22), blocks, (0, 0)) == (3, 2)
    assert measure_radius(SEES_3_BY_2, (1, 1, 22, 4), {0: (10, 2)}, (0, 0)) == (3,)


@pytest.mark.parametrize("start", [3, 17])
def test_a_block_that_reaches_a_border_has_no_radius(start: int):
    assert measure_radius(SEES_3_BY_2, (1, 1, 22, 22), {0: (start, 2)}, (0, 0)) is None


def test_halo_and_radius_are_the_same_measurement():
    def run(shape: tuple[int, ...], strips: Strips):
        with torch.no_grad():
            return [(SEES_3_BY_2(strips.fill(torch.empty(1, 1, *shape, dtype=torch.float64))), (1, 1))]

    assert measure_halo(run, (1, 1), (20, 20), (0, 0)) == (3, 2)
    # the last pixel of an odd image belongs to the strip, and halos are rounded up to the step of two
    assert measure_halo(run, (2, 2), (20, 20), (1, 1)) == (4, 2)


def test_an_extent_counts_from_the_block_and_in_the_coordinates_of_the_image():
    marked = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    marked[..., 2, 3] = marked[..., 6, 3] = True
    assert extent(marked, (4, 3), (1, 1)) == (2, 0)
    assert extent(marked, (5, 4), (1, 1), (2, 2)) == (2, 0)
    assert extent(torch.zeros_like(marked), (4, 4), (1, 1)) == (0, 0)
