"""The decoder with grid attention gates: what gates what, and what a closed gate lets through."""

from __future__ import annotations

import pytest
import torch

import unetzoo
from unetzoo.errors import ConfigError

SMALL = {"encoder": {"channels": [2, 4, 6, 8]}}


def level_gradients(model: unetzoo.DenseModel, level: int) -> torch.Tensor | None:
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 1, 16, 16, 16))
    levels = [feature.requires_grad_() for feature in features]
    logits = model.head(model.decoder(levels), size=(16, 16, 16))
    return torch.autograd.grad(logits.square().sum(), levels[level], allow_unused=True)[0]


def test_a_closed_gate_lets_nothing_of_its_skip_through():
    torch.manual_seed(0)
    model = unetzoo.create("attention_unet3d_dsv", **SMALL).eval()
    assert level_gradients(model, 1).any()
    for gate in model.decoder.gates[-1].gates:
        torch.nn.init.constant_(gate.coefficient.bias, -1e4)
    assert not level_gradients(model, 1).any()
    assert level_gradients(model, 0).any(), "the finest skip has no gate"


@pytest.mark.parametrize(("gating", "signals"), [("bottom", [8, 8]), ("previous", [8, 6])])
def test_gates_listen_to_the_bottom_or_to_the_level_before(gating, signals):
    model = unetzoo.create("attention_unet3d_dsv", decoder={"gating": gating}, **SMALL)
    assert [gates.gates[0].gate.in_channels for gates in model.decoder.gates] == signals
    assert model(torch.randn(2, 1, 17, 19, 16)).shape == (2, 1, 17, 19, 16)


def test_the_gates_exist_in_2d():
    model = unetzoo.create("attention_unet3d_dsv", ndim=2, **SMALL)
    assert model(torch.randn(2, 1, 17, 30)).shape == (2, 1, 17, 30)


@pytest.mark.parametrize(
    ("options", "message"), [({"gates": 0}, "and 0 gates"), ({"gating_channels": -1}, "from 8 to -1 channels")]
)
def test_too_few_gates_or_channels_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        unetzoo.create("attention_unet3d_dsv", decoder=options, **SMALL)


def test_an_encoder_without_a_skip_to_gate_is_refused():
    with pytest.raises(ConfigError, match="at least 3 levels"):
        unetzoo.create("attention_unet3d_dsv", encoder={"channels": [2, 4]})
