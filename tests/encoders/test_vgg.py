"""VGG as an encoder: its levels, its border, its convolutional classifier and its first weights."""

from __future__ import annotations

import math

import pytest
import torch

from unetzoo.encoders.vgg import VGGEncoder
from unetzoo.errors import ConfigError

SMALL = {"channels": (2, 2, 3), "depths": (1, 1, 2)}


def test_features_are_pooled_and_odd_sizes_are_rounded_up():
    features = VGGEncoder(1, ndim=2, **SMALL)(torch.randn(1, 1, 13, 9))
    assert [tuple(feature.shape[1:]) for feature in features] == [(2, 7, 5), (2, 4, 3), (3, 2, 2)]


def test_levels_pick_features_with_their_channels_and_strides():
    encoder = VGGEncoder(1, ndim=2, **SMALL, levels=[0, 2])
    assert (encoder.channels, encoder.strides) == ([2, 3], [2, 8])
    assert [feature.shape[2] for feature in encoder(torch.randn(1, 1, 16, 16))] == [8, 2]


def test_a_border_of_99_leaves_the_classifier_one_position_of_a_single_pixel():
    # The arithmetic of the paper's padding of 100: 199, 100, 50, 25, 13, 7 and, unpadded 7x7, 1.
    encoder = VGGEncoder(1, ndim=2, channels=(1,) * 5, depths=(1,) * 5, border=99, classifier=2)
    features = encoder(torch.randn(1, 1, 1, 1))
    assert [feature.shape[2] for feature in features] == [100, 50, 25, 13, 1]
    assert encoder.channels == [1, 1, 1, 1, 2]


def test_weights_start_with_he_et_als_deviation_and_biases_at_zero():
    conv = VGGEncoder(64, ndim=2, channels=(64,), depths=(1,)).stages[0].convs[0].conv
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)
    assert not conv.bias.any()


@pytest.mark.parametrize("levels", [[0, 1], [2, 1], [0, 5], []])
def test_levels_that_do_not_rise_to_the_last_stage_are_refused(levels: list[int]):
    with pytest.raises(ConfigError, match="levels are"):
        VGGEncoder(1, ndim=2, **SMALL, levels=levels)
