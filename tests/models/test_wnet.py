from __future__ import annotations

from pathlib import Path

import pytest
import torch

import unetzoo


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_second_network_sees_the_image_and_the_firsts_logits(ndim: int) -> None:
    model = unetzoo.create("wnet", num_classes=2, in_channels=1, ndim=ndim, channels=[2, 4]).eval()
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 1, *[9] * ndim)
    with torch.no_grad():
        logits = model(x)
        torch.testing.assert_close(seen[0], torch.cat([x, model.first(x)], dim=1))
    assert logits.shape == (1, 2, *[9] * ndim)


def test_deep_supervision_returns_both_networks_logits_in_training() -> None:
    model = unetzoo.create("wnet", num_classes=2, channels=[2, 4], deep_supervision=True)
    x = torch.randn(2, 3, 9, 6)
    outputs = model.train()(x)
    assert [tuple(logits.shape) for logits in outputs] == [(2, 2, 9, 6)] * 2
    with torch.no_grad():
        torch.testing.assert_close(model.eval().first(x), model.first(x))
        assert isinstance(model(x), torch.Tensor)


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_a_new_head_is_one_of_both_networks_and_can_be_saved(deep_supervision: bool, tmp_path: Path) -> None:
    model = unetzoo.create("wnet", channels=[2, 4], deep_supervision=deep_supervision)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    model.reset_head(5)
    differing = [name for name, value in model.encoder.state_dict().items() if value.shape != before[name].shape]
    after = model.encoder.state_dict()
    assert len(differing) >= 1
    assert all(torch.equal(after[name][:, :3], before[name][:, :3]) for name in differing)
    assert all(torch.equal(value, before[name]) for name, value in after.items() if name not in differing)
    x = torch.randn(2, 3, 8, 8)
    outputs = model(x) if deep_supervision else [model(x), model.first(x)]
    assert [tuple(logits.shape) for logits in outputs] == [(2, 5, 8, 8)] * 2
    unetzoo.save_pretrained(model, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(unetzoo.from_pretrained(tmp_path)(x), model.eval()(x))


def test_a_new_head_keeps_what_is_frozen_frozen_but_for_what_is_new() -> None:
    model = unetzoo.create("wnet", channels=[2, 4])
    shapes = {name: parameter.shape for name, parameter in model.encoder.named_parameters()}
    model.freeze_encoder()
    model.reset_head(5)
    for name, parameter in model.encoder.named_parameters():
        assert parameter.requires_grad == (parameter.shape != shapes[name])
    assert not model.train().encoder.training
