"""Swin-Unet: images of other sizes, published prefixes and buffers, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import unetzoo

SMALL = {"image_size": 64, "window_size": 4, "embed_dim": 24}


def test_images_of_any_size_come_back_at_their_size():
    model = unetzoo.create("swin_unet", num_classes=2, **SMALL).eval()
    with torch.no_grad():
        for size in ((64, 64), (33, 70), (1, 5)):
            assert model(torch.randn(1, 3, *size)).shape == (1, 2, *size)


def test_skips_are_what_goes_into_each_stage():
    model = unetzoo.create("swin_unet", **SMALL).eval()
    given: list[torch.Tensor] = []
    for stage in model.encoder.stages[:3]:
        stage.register_forward_hook(lambda module, inputs, output: given.append(inputs[0].movedim(-1, 1)))
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 3, 64, 64))
    for feature, stage_input in zip(features, given, strict=False):
        torch.testing.assert_close(feature, stage_input)
    assert [tuple(f.shape[1:]) for f in features] == [(24, 16, 16), (48, 8, 8), (96, 4, 4), (192, 2, 2)]


def test_keys_of_the_published_wrapper_load_and_its_buffers_are_dropped():
    model = unetzoo.create("swin_unet", **SMALL)
    state = {
        f"swin_unet.output{key.removeprefix('head.convs.0')}": torch.zeros_like(value)
        for key, value in model.state_dict().items()
        if key.startswith("head.convs.0")
    }
    state["swin_unet.layers.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    with pytest.raises(unetzoo.CheckpointError) as error:
        unetzoo.load_checkpoint(model, state)
    assert "swin-unet" in str(error.value)
    assert "left over" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 40}, "multiple of 32"),
        ({"window_size": 1}, "window_size is 1"),
        ({"embed_dim": 50}, "cannot be divided among"),
        ({"depths": [2, 2]}, "2 depths and 4 heads"),
        ({"window": 4}, "window_size"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_create(options: dict[str, object], message: str):
    with pytest.raises(unetzoo.ConfigError, match=message):
        unetzoo.create("swin_unet", **options)


def test_volumes_are_refused():
    with pytest.raises(unetzoo.ConfigError, match="ndim"):
        unetzoo.create("swin_unet", ndim=3)
