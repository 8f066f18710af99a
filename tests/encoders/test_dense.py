"""The contracting path of FC-DenseNet: the channel counts of the paper's table."""

from __future__ import annotations

from unetzoo.decoders.dense import DenseDecoder
from unetzoo.encoders.dense import DenseEncoder


def test_the_levels_of_fc_densenet_103_have_the_channels_of_table_2():
    # Jegou et al., table 2 (with the correction that its 880 to 1072 are 16 short): 48, then 16 a layer.
    encoder = DenseEncoder(3, ndim=2)
    assert encoder.channels == [112, 192, 304, 464, 656, 15 * 16]
    assert encoder.stages[-1].layers.layers[-1].conv.in_channels + 16 == 896


def test_the_way_up_has_the_channels_of_table_2():
    encoder = DenseEncoder(3, ndim=2)
    decoder = DenseDecoder(encoder.channels, encoder.strides, ndim=2)
    totals = [stage.layers.layers[-1].conv.in_channels + 16 for stage in decoder.stages]
    assert totals == [1088, 816, 576, 384, 256]
    assert decoder.channels[0] == 256
