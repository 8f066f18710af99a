"""Weights for other classes or input channels are used where they can be, and the rest is said to be new."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.models import adapt_input_conv

import unetzoo
from unetzoo.checkpoints.transfer import adapt_input_channels

FIRST = "encoder.stages.0.block.0.conv.weight"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 8]})
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("in_channels", [1, 2, 3, 4, 7])
def test_the_first_convolution_is_adapted_as_timm_does_it(in_channels: int) -> None:
    weight = torch.randn(5, 3, 3, 3)
    torch.testing.assert_close(adapt_input_channels(weight, in_channels), adapt_input_conv(in_channels, weight))


def test_other_classes_and_channels_keep_the_rest_of_the_weights(weights: Path) -> None:
    with pytest.warns(UserWarning, match=rf"{FIRST} was adapted to 1 input channels; head.* is new"):
        model = unetzoo.create("unet", num_classes=5, in_channels=1, encoder={"channels": [4, 8]}, checkpoint=weights)
    theirs = torch.load(weights, weights_only=True)
    ours = model.state_dict()
    torch.testing.assert_close(ours[FIRST], theirs[FIRST].sum(1, keepdim=True))
    same = [key for key in theirs if not key.startswith("head.") and key != FIRST]
    assert all(torch.equal(ours[key], theirs[key]) for key in same)
    assert model(torch.ones(1, 1, 8, 8)).shape == (1, 5, 8, 8)


def test_a_gray_image_gives_the_same_features_in_one_channel_as_in_three(weights: Path) -> None:
    three = unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 8]}, checkpoint=weights).eval()
    with pytest.warns(UserWarning, match="adapted to 1 input"):
        one = unetzoo.create(
            "unet", num_classes=2, in_channels=1, encoder={"channels": [4, 8]}, checkpoint=weights
        ).eval()
    gray = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(one(gray), three(gray.expand(1, 3, 8, 8)), rtol=1e-4, atol=1e-5)


def test_weights_of_another_network_are_refused_all_the_same(weights: Path) -> None:
    with pytest.raises(unetzoo.CheckpointError, match="wrong shape"):
        unetzoo.create("unet", num_classes=5, encoder={"channels": [4, 16]}, checkpoint=weights)


def test_load_checkpoint_adapts_nothing_unless_asked(weights: Path) -> None:
    model = unetzoo.create("unet", num_classes=5, encoder={"channels": [4, 8]})
    with pytest.raises(unetzoo.CheckpointError, match="wrong shape: head"):
        unetzoo.load_checkpoint(model, weights)
    with pytest.warns(UserWarning, match="is new"):
        loaded = unetzoo.load_checkpoint(model, weights, transfer=True)
    assert loaded.fresh
    assert all(key.startswith("head.") for key in loaded.fresh)


def test_a_built_encoder_is_taken_and_its_model_cannot_be_saved(tmp_path: Path) -> None:
    encoder = unetzoo.create("unet", encoder={"channels": [4, 8]}).encoder
    model = unetzoo.create("unet", num_classes=3, encoder=encoder)
    assert model.encoder is encoder
    model.reset_head(2)
    assert model(torch.ones(1, 3, 9, 7)).shape == (1, 2, 9, 7)
    with pytest.raises(unetzoo.ConfigError, match="encoder <ConvEncoder> was built by the caller"):
        unetzoo.save_pretrained(model, tmp_path / "out")
    with pytest.raises(unetzoo.PluginError, match="has no channels and no strides"):
        unetzoo.create("unet", encoder=torch.nn.Conv2d(3, 4, 3))
