"""The three heads of the LinkNet family: kernels, resolution and size."""

from __future__ import annotations

import pytest
import torch

from unetzoo.heads.linknet import LinkNetHead


@pytest.mark.parametrize(
    ("variant", "stride", "kernels"), [("paper", 4, (3, 3, 2)), ("unpadded", 2, (3, 3, 2)), ("dlinknet", 2, (4, 3, 3))]
)
def test_a_variant_has_the_kernels_of_its_authors_and_reaches_the_image(variant, stride, kernels):
    head = LinkNetHead([8], [stride], 3, ndim=2, hidden=4, variant=variant).eval()
    assert tuple(layer.kernel_size[0] for layer in (head.up.conv, head.conv.conv, head.logits)) == kernels
    assert head.full_resolution
    assert head([torch.randn(1, 8, 5, 6)], (5 * stride, 6 * stride - 1)).shape == (1, 3, 5 * stride, 6 * stride - 1)


def test_only_the_papers_head_is_normalized():
    assert hasattr(LinkNetHead([8], [4], 1, ndim=2, variant="paper").up, "norm")
    assert not hasattr(LinkNetHead([8], [2], 1, ndim=2, variant="unpadded").up, "norm")


def test_features_coarser_than_a_head_upsamples_are_interpolated():
    head = LinkNetHead([8], [16], 2, ndim=3, hidden=4).eval()
    assert not head.full_resolution
    assert head([torch.randn(1, 8, 2, 2, 3)], (32, 31, 48)).shape == (1, 2, 32, 31, 48)
