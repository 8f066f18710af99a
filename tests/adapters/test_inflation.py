"""timm backbones inflated to three dimensions."""

from __future__ import annotations

import pytest
import timm
import torch

import unetzoo
from unetzoo.adapters.timm import TimmEncoder


def flat_and_inflated(name: str) -> tuple[TimmEncoder, TimmEncoder]:
    encoders = []
    for ndim in (2, 3):
        torch.manual_seed(0)
        encoders.append(TimmEncoder(3, ndim=ndim, backbone=name).eval())
    return encoders[0], encoders[1]


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "tf_mobilenetv3_small_minimal_100", "dla34"])
def test_a_volume_that_is_constant_along_its_depth_gives_the_features_of_its_slice(name: str) -> None:
    flat, inflated = flat_and_inflated(name)
    x = torch.randn(1, 3, 40, 33)
    with torch.no_grad():
        expected, found = flat(x), inflated(x[:, :, None].expand(-1, -1, 9, -1, -1))
    for plane, volume in zip(expected, found, strict=True):
        assert volume.ndim == 5
        scale = plane.abs().max()
        torch.testing.assert_close(volume / scale, (plane / scale)[:, :, None].expand_as(volume), atol=1e-5, rtol=0)


def test_an_inflated_backbone_sees_along_the_depth() -> None:
    _, inflated = flat_and_inflated("test_resnet")
    volume = torch.zeros(1, 3, 9, 32, 32)
    changed = volume.clone()
    changed[:, :, 5] = 1.0
    with torch.no_grad():
        difference = (inflated(changed)[0] - inflated(volume)[0]).abs().amax((0, 1, 3, 4))
    assert (difference[1:4] > 1e-6).all()


def test_published_weights_are_inflated_with_the_backbone(tmp_path) -> None:
    source = timm.create_model("test_resnet")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    part = {"name": "timm/test_resnet", "weights": str(tmp_path / "weights.pth")}
    model = unetzoo.create("unet", encoder=part, ndim=3, pretrained=True, num_classes=2).eval()
    kernel = model.encoder.model.layer1[0].conv1.weight
    theirs = source.layer1[0].conv1.weight
    torch.testing.assert_close(kernel.sum(2), theirs)
    assert model(torch.randn(1, 3, 33, 40, 35)).shape == (1, 2, 33, 40, 35)


def test_a_backbone_without_a_form_in_three_dimensions_is_refused_by_name() -> None:
    with pytest.raises(unetzoo.ConfigError, match="test_vit.*vision_transformer"):
        TimmEncoder(3, ndim=3, backbone="test_vit")


def test_a_layer_without_a_form_in_three_dimensions_is_refused_by_name() -> None:
    with pytest.raises(unetzoo.ConfigError, match="EcaModule"):
        TimmEncoder(3, ndim=3, backbone="ecaresnet26t")
