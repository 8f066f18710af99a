"""SegNet's decoder: only places pass from the encoder, and the widths mirror the encoder's."""

from __future__ import annotations

import pytest
import torch

from unetzoo.decoders.unpooling import UnpoolingDecoder
from unetzoo.errors import ConfigError


def test_the_depths_and_widths_of_segnet_mirror_vgg_16():
    decoder = UnpoolingDecoder([64, 128, 256, 512, 512], [1, 2, 4, 8, 16], ndim=2, depths=[3, 3, 3, 2, 1])
    widths = [[block.conv.out_channels for block in stage.blocks] for stage in decoder.stages]
    assert widths == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64]]
    assert decoder.channels == [64, 64, 128, 256, 512]


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
def test_values_of_finer_features_do_not_matter_only_where_their_maxima_are(size: tuple[int, int]):
    decoder = UnpoolingDecoder([3, 4], [1, 2], ndim=2, depths=[1, 1]).eval()
    fine, coarse = torch.randn(1, 3, *size), torch.randn(1, 4, size[0] // 2, size[1] // 2)
    out = decoder([fine, coarse])[0]
    torch.testing.assert_close(decoder([fine.exp(), coarse])[0], out)
    assert not torch.equal(decoder([-fine, coarse])[0], out)
    assert out.shape == fine.shape


def test_another_number_of_depths_than_levels_is_refused():
    with pytest.raises(ConfigError, match="expected 2 numbers"):
        UnpoolingDecoder([3, 4], [1, 2], ndim=2, depths=[1])
