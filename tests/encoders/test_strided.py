from __future__ import annotations

from functools import partial

import pytest
import torch

from unetzoo.blocks.conv import Conv
from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.blocks.multires import MultiRes
from unetzoo.blocks.residual import Residual
from unetzoo.encoders.strided import StridedEncoder
from unetzoo.errors import ConfigError

SMALL = {"ndim": 2, "channels": [4, 6, 8]}


def test_features_follow_the_declared_channels_and_strides() -> None:
    encoder = StridedEncoder(2, ndim=3, channels=[4, 6, 8], factors=[1, (1, 2, 2), 2], block=Residual)
    assert encoder.channels == [4, 6, 8]
    assert encoder.strides == [1, (1, 2, 2), (2, 4, 4)]
    features = encoder(torch.randn(1, 2, 5, 9, 7))
    assert [tuple(x.shape) for x in features] == [(1, 4, 5, 9, 7), (1, 6, 5, 5, 4), (1, 8, 3, 3, 2)]


def test_depths_repeat_blocks_of_which_the_first_is_strided() -> None:
    encoder = StridedEncoder(2, depths=[1, 3, 2], block=DoubleConv, **SMALL)
    assert [len(stage.blocks) for stage in encoder.stages] == [1, 3, 2]
    assert [block[0].conv.stride for block in encoder.stages[1].blocks] == [(2, 2), (1, 1), (1, 1)]


def test_a_stem_may_be_all_of_the_first_level() -> None:
    encoder = StridedEncoder(2, depths=[0, 1, 1], stem_block=Conv, **SMALL)
    x = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(encoder.eval()(x)[0], encoder.stem(x))


def test_only_the_chosen_levels_are_handed_on() -> None:
    encoder = StridedEncoder(2, levels=[0, 2], bottom_block=MultiRes, factors=[1, 2, 1], **SMALL)
    assert (encoder.channels, encoder.strides) == ([4, 8], [1, 2])
    assert [x.shape[1] for x in encoder(torch.randn(2, 2, 8, 8))] == [4, 8]
    assert isinstance(encoder.stages[-1].blocks[0], MultiRes)


def test_options_differ_between_levels() -> None:
    encoder = StridedEncoder(2, block=Residual, per_level={"depth": [None, 1, 3]}, **SMALL)
    assert [len(stage.blocks[0].convs) for stage in encoder.stages] == [2, 1, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"factors": [1, 2]},
        {"depths": [0, 1, 1]},
        {"depths": [0, 1, 1], "stem_block": Conv, "factors": [2, 2, 2]},
        {"depths": [1, 0, 1]},
        {"levels": [0, 1]},
        {"per_level": {"depth": [1, 2]}},
        {"per_level": {"deepth": [1, 1, 1]}},
        {"block": partial(MultiRes)},
    ],
)
def test_what_cannot_work_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        StridedEncoder(2, **{**SMALL, **options})
