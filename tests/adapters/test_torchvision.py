"""torchvision's segmentation networks behind the contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.models import mobilenet_v3_large
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


@pytest.mark.parametrize("options", [{"pretrained": True}, {"pretrained": True, "weights": "DEFAULT"}])
def test_weights_that_are_loaded_are_adapted_to_other_channels(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    published = whole if "weights" in options else mobilenet_v3_large()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published.state_dict())
    model = unetzoo.create("torchvision/lraspp_mobilenet_v3_large", num_classes=21, in_channels=1, **options)
    theirs = next(tensor for tensor in published.state_dict().values() if tensor.dim() == 4)
    ours = next(tensor for tensor in model.encoder.parameters() if tensor.dim() == 4)
    torch.testing.assert_close(ours, theirs.sum(1, keepdim=True))


def test_without_weights_no_two_channels_begin_alike() -> None:
    model = unetzoo.create("torchvision/lraspp_mobilenet_v3_large", in_channels=4)
    first = next(tensor for tensor in model.encoder.parameters() if tensor.dim() == 4)
    assert not torch.equal(first[:, 0], first[:, 3])
