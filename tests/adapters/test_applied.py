"""A model of each adapter, saved, loaded in a fresh process without a network, predicts a photograph as its library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import monai.transforms
import numpy as np
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor
from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights, lraspp_mobilenet_v3_large

import unetzoo

PHOTOGRAPH = Path(__file__).parents[2] / "examples" / "data" / "vessels" / "images" / "Image_01L.jpg"
PREDICT = """
import socket, sys
def refuse(*_, **__): raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
import numpy, unetzoo
for folder in sys.argv[2:]:
    predictor = unetzoo.Predictor(folder, device="cpu")
    numpy.save(folder + "/found.npy", predictor.predict(sys.argv[1], probabilities=True).probabilities)
"""
Library = Callable[[Image.Image], Tensor]


def randomized(network: torch.nn.Module) -> dict[str, Tensor]:
    """The state dict of a network with other statistics than a fresh one has, as if it had been trained."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return network.state_dict()


def by_timm(folder: Path, _: pytest.MonkeyPatch) -> Library:
    torch.save(randomized(timm.create_model("tf_efficientnet_lite0")), folder / "weights.pth")
    encoder = {"name": "timm/tf_efficientnet_lite0", "weights": str(folder / "weights.pth")}
    model = unetzoo.create("unet", num_classes=3, encoder=encoder, pretrained=True).eval()
    model.save_pretrained(folder)
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg("tf_efficientnet_lite0").to_dict())
    steps = timm.data.create_transform(**config).transforms[-2:]  # what follows resizing and cropping

    def predict(photograph: Image.Image) -> Tensor:
        to_tensor, normalize = steps
        return model(normalize(to_tensor(photograph))[None])

    return predict


def by_smp(folder: Path, patch: pytest.MonkeyPatch) -> Library:
    weights = randomized(smp.encoders.get_encoder("resnet18", weights=None))
    (folder / "hub").mkdir()
    safetensors.torch.save_file(weights, folder / "hub" / "model.safetensors")
    settings = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "input_range": [0, 1], "input_space": "BGR"}
    (folder / "hub" / "config.json").write_text(json.dumps(settings))
    patch.setattr(smp.encoders, "hf_hub_download", lambda _, filename, revision: str(folder / "hub" / filename))
    prepare = smp.encoders.get_preprocessing_fn("resnet18")
    model = unetzoo.create("smp/unet", encoder="resnet18", num_classes=3, pretrained=True).eval()
    model.save_pretrained(folder)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=3).eval()
    theirs.load_state_dict({key.replace("head.", "segmentation_head."): one for key, one in model.state_dict().items()})
    return lambda photograph: theirs(torch.from_numpy(prepare(np.array(photograph))).movedim(-1, 0)[None].float())


def by_torchvision(folder: Path, patch: pytest.MonkeyPatch) -> Library:
    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21).eval()
    state = randomized(theirs)
    patch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    name = "torchvision/lraspp_mobilenet_v3_large"
    model = unetzoo.create(name, num_classes=21, pretrained=True, weights="DEFAULT")
    model.save_pretrained(folder)
    transforms = LRASPP_MobileNet_V3_Large_Weights.DEFAULT.transforms(resize_size=None)
    return lambda photograph: theirs(transforms(photograph)[None])["out"]


def by_diffusers(folder: Path, _: pytest.MonkeyPatch) -> Library:
    model = unetzoo.create("diffusers_unet2d", num_classes=2, block_out_channels=[8, 16], attention_from=1, depth=1)
    model.eval().save_pretrained(folder)
    theirs: diffusers.UNet2DModel = model.unet
    processor = VaeImageProcessor(do_resize=False)
    return lambda photograph: theirs(processor.preprocess(photograph), 0).sample


def by_monai(folder: Path, _: pytest.MonkeyPatch) -> Library:
    """MONAI publishes no weights with its networks: the preprocessing is set on the model by hand."""
    model = unetzoo.create("monai/unet", num_classes=2, channels=[4, 8], strides=[2]).eval()
    model.preprocessing = unetzoo.Preprocessing(channels="rgb", per_image=True)
    model.classes = unetzoo.Classes(names=("background", "vessel"))
    model.save_pretrained(folder)
    normalize = monai.transforms.NormalizeIntensity()

    def predict(photograph: Image.Image) -> Tensor:
        channels_first = np.moveaxis(np.array(photograph, np.float32), -1, 0)
        return model.network(torch.as_tensor(normalize(channels_first))[None])

    return predict


ADAPTERS = {"timm": by_timm, "smp": by_smp, "torchvision": by_torchvision, "diffusers": by_diffusers, "monai": by_monai}


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What a fresh process predicts, and what the library does, for each adapter."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("applied")
    with Image.open(PHOTOGRAPH) as whole:
        whole.crop((300, 200, 428, 296)).save(root / "raw.jpg", quality=95)
    libraries = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, make in ADAPTERS.items():
            (root / name).mkdir()
            libraries[name] = make(root / name, patch)
    folders = [str(root / name) for name in ADAPTERS]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TORCH_HOME": str(root / "nothing")}
    subprocess.run([sys.executable, "-c", PREDICT, str(root / "raw.jpg"), *folders], check=True, env=environment)
    with Image.open(root / "raw.jpg") as photograph, torch.no_grad():
        expected = {name: library(photograph)[0].softmax(0).numpy() for name, library in libraries.items()}
    return {name: (np.load(root / name / "found.npy"), expected[name]) for name in ADAPTERS}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_photograph_is_predicted_as_the_library_does(
    adapter: str, predictions: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    found, expected = predictions[adapter]
    contrast = expected.std(axis=(1, 2)).max()  # how much the prediction follows the photograph
    assert contrast > 1e-4
    np.testing.assert_allclose(found, expected, atol=2e-3 * contrast)


def test_torchvisions_classes_are_saved_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_torchvision(tmp_path, monkeypatch)
    monkeypatch.undo()  # nothing is downloaded when it is loaded
    model = unetzoo.from_pretrained(tmp_path)
    assert model.classes is not None
    assert model.classes.names[15] == "person"
    assert model.provenance is not None
    assert model.provenance.weights == "LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1"
    with pytest.raises(unetzoo.ConfigError, match="without pretrained=True nothing is loaded"):
        unetzoo.create("torchvision/lraspp_mobilenet_v3_large", num_classes=21, weights="DEFAULT")
