"""torchvision's segmentation networks behind the contract."""

from __future__ import annotations

import torch
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import unetzoo


def test_the_numbers_are_torchvisions_own() -> None:
    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).eval()
    ours = unetzoo.create("torchvision/lraspp_mobilenet_v3_large", num_classes=3).eval()
    assert unetzoo.load_checkpoint(ours, theirs.state_dict()).layout == "torchvision"
    x = torch.randn(1, 3, 65, 90)
    assert torch.equal(ours(x), theirs(x)["out"])


def test_other_channels_and_classes_are_not_swallowed() -> None:
    model = unetzoo.create("torchvision/lraspp_mobilenet_v3_large", num_classes=2, in_channels=1)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 2, 64, 64)
    model.reset_head(5)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 5, 64, 64)
