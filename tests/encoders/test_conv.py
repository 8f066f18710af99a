"""The convolutional encoder: levels, depths, dropout and what it refuses."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from unetzoo.blocks.conv import Conv
from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.encoders.conv import ConvEncoder
from unetzoo.errors import ConfigError


def test_features_have_the_declared_channels_and_strides_per_axis():
    encoder = ConvEncoder(1, ndim=3, channels=[2, 4, 6], factors=[1, (1, 2, 2), 2])
    features = encoder(torch.randn(2, 1, 8, 12, 16))
    assert [feature.shape[1] for feature in features] == encoder.channels == [2, 4, 6]
    assert encoder.strides == [1, (1, 2, 2), (2, 4, 4)]
    assert [tuple(feature.shape[2:]) for feature in features] == [(8, 12, 16), (8, 6, 8), (4, 3, 4)]


def test_depths_tell_the_number_of_blocks_and_the_bottom_may_have_its_own():
    encoder = ConvEncoder(
        3,
        ndim=2,
        channels=[4, 4],
        depths=[2, 1],
        block=Conv,
        bottom_block=lambda i, o, ndim: nn.Conv2d(i, o, 5, padding=2),
    )
    kernels = [[m.kernel_size[0] for m in stage.modules() if isinstance(m, nn.Conv2d)] for stage in encoder.stages]
    assert kernels == [[3, 3], [5]]


def test_dropout_stands_behind_the_last_levels_and_the_skip_is_the_dropped_tensor():
    torch.manual_seed(0)
    linear = partial(DoubleConv, activation="none")
    encoder = ConvEncoder(3, ndim=2, channels=[8, 8, 64], dropout=[0.5], block=linear).train()
    features = encoder(torch.randn(1, 3, 32, 32))
    empty = [int((feature.flatten(2).abs().sum(2) == 0).sum()) for feature in features]
    assert empty[:2] == [0, 0]
    assert 16 <= empty[2] <= 48
    whole = encoder.eval()(torch.randn(1, 3, 32, 32))[2]
    assert (whole.flatten(2).abs().sum(2) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": []}, "0 channels"),
        ({"channels": [4, 8], "factors": [1]}, "2 channels, 1 factors"),
        ({"channels": [4, 8], "depths": [1]}, "1 depths"),
        ({"channels": [4, 0]}, "expected numbers from 1"),
        ({"channels": [4], "dropout": [0.1, 0.1]}, "2 dropout probabilities for 1 levels"),
        ({"channels": [4, 8], "downsample": "median"}, "unknown downsampling 'median'"),
    ],
)
def test_what_does_not_fit_is_told(options, message):
    with pytest.raises(ConfigError, match=message):
        ConvEncoder(3, ndim=2, **options)
