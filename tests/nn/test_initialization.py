"""Named initialization schemes, checked by the statistics of what they draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import unetzoo
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn.initialization import make_initializer

# Of a sample of n normal numbers the deviation is known to sigma / sqrt(2 n): five of these.
SAMPLES = 64 * 64 * 9
TOLERANCE = 5 / math.sqrt(2 * SAMPLES)


def drawn(spec: Spec, layer: nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    make_initializer(spec)(layer)
    return layer.get_parameter("weight").detach()


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [
        ("gaussian", math.sqrt(2 / 576)),
        ("kaiming_normal", math.sqrt(2 / 576)),
        ("kaiming_uniform", math.sqrt(2 / 576)),
        ("xavier_normal", math.sqrt(2 / (576 + 576))),
        ("xavier_uniform", math.sqrt(2 / (576 + 576))),
        ({"name": "gaussian", "slope": 0.5}, math.sqrt(2 / 1.25 / 576)),
        ({"name": "kaiming_normal", "slope": 0.5}, math.sqrt(2 / 1.25 / 576)),
    ],
)
def test_weights_have_the_deviation_of_the_scheme(scheme, deviation):
    weight = drawn(scheme, nn.Conv2d(64, 64, 3))
    assert weight.mean().item() == pytest.approx(0, abs=5 * deviation / math.sqrt(SAMPLES))
    assert weight.std().item() == pytest.approx(deviation, rel=TOLERANCE)


def test_the_uniform_scheme_stays_within_its_bound_and_the_gaussian_does_not():
    bound = math.sqrt(6 / 576)
    assert drawn("kaiming_uniform", nn.Conv2d(64, 64, 3)).abs().max() <= bound
    assert drawn("gaussian", nn.Conv2d(64, 64, 3)).abs().max() > bound


def test_gaussian_keeps_the_variance_through_a_strided_transposed_convolution():
    layer = nn.ConvTranspose2d(256, 64, 2, 2, bias=False)
    drawn("gaussian", layer)
    x = torch.randn(4, 256, 16, 16)
    assert layer(x).var().item() == pytest.approx(2.0, rel=0.05)


def test_an_orthogonal_weight_has_orthonormal_rows():
    weight = drawn("orthogonal", nn.Linear(32, 16))
    torch.testing.assert_close(weight @ weight.T, torch.eye(16), atol=1e-5, rtol=0)


def test_biases_and_normalization_change_only_where_told():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv3d(8, 8, 3), nn.BatchNorm3d(512))
    bias = layers[0].bias.clone()
    make_initializer("gaussian")(layers)
    assert torch.equal(layers[0].bias, bias)
    assert torch.equal(layers[1].weight, torch.ones(512))
    make_initializer({"name": "gaussian", "bias": "zeros", "norm_std": 0.02})(layers)
    assert torch.equal(layers[0].bias, torch.zeros(8))
    assert layers[1].weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / math.sqrt(512))
    assert layers[1].weight.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(1024))


def test_a_model_is_initialized_by_the_scheme_of_its_config_and_so_is_a_new_head():
    torch.manual_seed(0)
    model = unetzoo.create("unet", init="gaussian", encoder={"channels": [32, 64]})
    weight = model.encoder.stages[1].block[1].conv.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 576), rel=TOLERANCE)
    model.reset_head(512)
    assert model.head.convs[0].weight.std().item() == pytest.approx(math.sqrt(2 / 32), rel=0.03)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gausian", "init: unknown initialization 'gausian'.*did you mean 'gaussian'"),
        ({"name": "gaussian", "biass": "zeros"}, "init: .*biass"),
        ({"name": "gaussian", "bias": "ones"}, "init: .*bias: expected 'keep' or 'zeros', got 'ones'"),
    ],
)
def test_a_wrong_scheme_or_option_is_told_at_create(spec, message):
    with pytest.raises(ConfigError, match=message):
        unetzoo.create("unet", init=spec)


def test_the_unet_of_the_paper_draws_from_its_gaussian_in_every_layer():
    torch.manual_seed(0)
    model = unetzoo.create("unet_valid", encoder={"channels": [32, 64, 128]})
    for stage, channels in zip(model.encoder.stages[1:], (64, 128), strict=True):
        weight = stage.block[1].conv.weight
        assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * channels)), rel=0.03)
    assert model.decoder.stages[0].up[0].conv.weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.03)


def test_the_networks_of_the_road_challenge_start_without_biases():
    model = unetzoo.create("dunet", encoder={"channels": [4, 4, 8, 8]})
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert len(biases) == 19
    assert not any(bias.any() for bias in biases)


def test_the_attention_networks_draw_their_normalization_gains_around_one():
    torch.manual_seed(0)
    model = unetzoo.create("attention_unet3d")
    gains = torch.cat([m.weight.detach() for m in model.modules() if isinstance(m, nn.BatchNorm3d)])
    assert gains.mean().item() == pytest.approx(1, abs=5 * 0.02 / math.sqrt(len(gains)))
    assert gains.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * len(gains)))


def test_a_layer_that_its_part_has_begun_is_left_alone():
    gate = nn.Conv2d(4, 2, 1)
    nn.init.zeros_(gate.weight)
    nn.init.ones_(gate.bias)
    gate.initialized = True
    make_initializer({"name": "kaiming_normal", "bias": "zeros"})(gate)
    assert not gate.weight.any()
    assert gate.bias.eq(1).all()
