"""The head of FCN: alignment, offsets, scales, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.heads.fcn import FCNHead


def passing(head: FCNHead) -> FCNHead:
    """Make every score the first channel of its features."""
    for score in head.scores:
        nn.init.zeros_(score.weight)
        nn.init.zeros_(score.bias)
        score.weight.data[0, 0] = 1.0
    return head


def test_a_ramp_that_all_levels_hold_comes_out_as_their_sum_in_place():
    head = passing(FCNHead([2, 2], [2, 4], 1, ndim=2, levels=2))
    centers = {stride: (torch.arange(32.0 / stride) + 0.5) * stride - 0.5 for stride in (2, 4)}
    features = [centers[stride].expand(1, 2, len(centers[stride]), -1) for stride in (2, 4)]
    with torch.no_grad():
        out = head(features, (32, 32))[0, 0, 16]
    torch.testing.assert_close(out[8:-8], 2 * torch.arange(32.0)[8:-8])


def test_offsets_say_where_the_finer_scores_and_the_result_begin():
    head = passing(FCNHead([1, 1], [2, 4], 1, ndim=2, levels=2, offsets=[5, 3]))
    fine, coarse = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 4, 4)
    fine[..., 5 + 2, 5 + 2] = 1.0
    with torch.no_grad():
        out = head([fine, coarse], (9, 8))[0, 0]
    # Position 2 of the window is spread over positions 4 to 7, of which the result begins at 3.
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    expected = torch.zeros(9, 8)
    expected[1:5, 1:5] = torch.outer(line, line)
    torch.testing.assert_close(out, expected)


def test_scales_multiply_the_features_before_they_are_scored():
    features = [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)]
    torch.manual_seed(0)
    plain = FCNHead([3, 3], [2, 4], 2, ndim=2, levels=2)
    torch.manual_seed(0)
    scaled = FCNHead([3, 3], [2, 4], 2, ndim=2, levels=2, scales=[1.0, 0.01])
    torch.testing.assert_close(scaled(features, (16, 16)), plain([0.01 * features[0], features[1]], (16, 16)))


@pytest.mark.parametrize("size", [(29, 31), (32, 25)])
def test_sizes_between_two_strides_come_back(size: tuple[int, int]):
    features = [torch.randn(1, 2, -(-size[0] // s), -(-size[1] // s)) for s in (8, 16, 32)]
    assert FCNHead([2, 2, 2], [8, 16, 32], 3, ndim=2)(features, size).shape == (1, 3, *size)


def test_levels_that_are_not_there_and_lists_of_other_lengths_are_refused():
    with pytest.raises(ConfigError, match="levels is 4"):
        FCNHead([2, 2, 2], [8, 16, 32], 1, ndim=2, levels=4)
    with pytest.raises(ConfigError, match="offsets"):
        FCNHead([2, 2, 2], [8, 16, 32], 1, ndim=2, offsets=[19])
