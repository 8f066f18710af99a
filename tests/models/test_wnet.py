from __future__ import annotations

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


def test_a_new_head_leaves_the_first_network_alone() -> None:
    model = unetzoo.create("wnet", channels=[2, 4])
    model.reset_head(5)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5, 8, 8)
    assert model.first.num_classes == 1
