"""LinkNet's decoder: what each stage is added to, with and without the pooled stem."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.decoders.linknet import LinkNetDecoder


def silenced(decoder: LinkNetDecoder) -> LinkNetDecoder:
    """Make every stage give zero before its skip is added."""
    for stage in decoder.stages:
        nn.init.zeros_(stage.expand.norm.weight)
        nn.init.zeros_(stage.expand.norm.bias)
    return decoder.eval()


def test_stages_are_added_to_the_features_of_their_resolution_and_the_last_one_only_upsamples():
    decoder = silenced(LinkNetDecoder([4, 8], [4, 8], ndim=2))
    fine, coarse = torch.randn(1, 4, 6, 5), torch.randn(1, 8, 3, 3)
    finest, skipped = decoder([fine, coarse])
    torch.testing.assert_close(skipped, fine)
    assert finest.shape == (1, 4, 12, 10)
    assert (decoder.channels, decoder.strides) == ([4, 4], [2, 4])


def test_with_the_stem_pooled_every_stage_meets_the_input_of_its_encoder_block():
    decoder = silenced(LinkNetDecoder([4, 4, 8], [2, 4, 8], ndim=2, pool_stem=True))
    stem, fine, coarse = torch.randn(1, 4, 12, 12), torch.randn(1, 4, 6, 6), torch.randn(1, 8, 3, 3)
    finest, middle = decoder([stem, fine, coarse])
    torch.testing.assert_close(finest, nn.functional.max_pool2d(stem, 3, 2, padding=1))
    torch.testing.assert_close(middle, fine)
    assert (decoder.channels, decoder.strides) == ([4, 4], [4, 4])
