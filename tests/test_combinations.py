"""Parts mix freely: any block, merge, normalization, activation and center; what cannot work is told at create."""

from __future__ import annotations

import pytest
import torch

import unetzoo
from unetzoo.errors import ConfigError

WIDTHS = {"channels": [8, 16, 32]}
BLOCKS = unetzoo.list_components("block")
# These keep (or only add) channels, so that they cannot stand alone in a U-Net, whose widths change.
KEEPING = ("enet", "identity", "norm")
# The placeholder holds a parameter of published checkpoints that nothing uses.
CENTERS = [name for name in unetzoo.list_components("center") if name != "placeholder"]


def check_trains(ndim: int = 2, **options: object) -> None:
    """Creates a small U-Net, runs a training step's passes at an odd size, and finds a gradient everywhere."""
    torch.manual_seed(0)
    model = unetzoo.create("unet", ndim=ndim, **{"encoder": WIDTHS, **options})
    size = (11, 14, 13)[:ndim]
    logits = model(torch.randn(2, 3, *size))
    assert logits.shape == (2, 1, *size)
    logits.square().mean().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("block", BLOCKS)
def test_any_block_works_in_encoder_and_decoder_or_says_that_it_cannot(block, ndim):
    if block in KEEPING:
        with pytest.raises(ConfigError, match=r"cannot turn \d+"):
            check_trains(ndim, block=block)
    else:
        check_trains(ndim, block=block)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("center", CENTERS)
def test_any_center_works(center, ndim):
    check_trains(ndim, center=center)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("skip", ["concat", "add", "attention", "none"])
@pytest.mark.parametrize("decoder", ["unet", "grid_attention", "unetpp", "linknet"])
def test_any_merge_works_or_is_refused_by_the_decoder(decoder, skip, ndim):
    options = {"name": decoder} if skip == "concat" and decoder in ("grid_attention", "linknet") else None
    if options is None and decoder in ("grid_attention", "linknet"):
        with pytest.raises(ConfigError, match="unknown option"):
            check_trains(ndim, decoder={"name": decoder, "skip": skip})
    elif decoder == "unetpp" and skip in ("add", "none"):
        with pytest.raises(ConfigError, match="cannot join"):
            check_trains(ndim, decoder={"name": decoder, "skip": skip})
    else:
        check_trains(ndim, decoder=options or {"name": decoder, "skip": skip})


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "layer", "none", {"name": "group", "num_groups": 4}])
def test_any_normalization_works(norm, ndim):
    check_trains(ndim, block={"norm": norm})


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "hardswish"])
def test_any_activation_works(activation):
    check_trains(block={"activation": activation})


@pytest.mark.parametrize("order", ["cna", "can", "nca", "nac", "cnda"])
def test_any_order_of_convolution_normalization_activation_and_dropout_works(order):
    check_trains(block={"order": order, "dropout": 0.2})


@pytest.mark.parametrize("downsample", ["max", "avg", "conv", {"name": "conv", "kernel_size": 3}])
@pytest.mark.parametrize("upsample", ["deconv", "nearest", {"name": "linear", "kernel_size": 3, "norm": "batch"}])
def test_any_way_down_goes_with_any_way_up(downsample, upsample):
    check_trains(encoder={**WIDTHS, "downsample": downsample}, decoder={"upsample": upsample})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": {"name": "residual", "padding": "valid"}}, "padding"),
        ({"block": {"name": "recurrent", "padding": "valid"}}, "padding"),
        ({"block": {"norm": "weight"}}, "unknown normalization 'weight': expected one of batch, group"),
        ({"block": {"activation": "relu7"}}, "unknown activation 'relu7'.*did you mean 'relu'"),
        ({"block": {"order": "cnn"}}, "order is 'cnn'"),
        ({"block": {"kernel_size": 4}}, "kernel 4 is even"),
        ({"block": "double_konv"}, "block.*double_konv.*did you mean 'double_conv'"),
        ({"ndim": 3, "encoder": {"name": "timm/vit_tiny_patch16_224"}}, "has no 3-D form"),
    ],
)
def test_what_cannot_work_is_told_at_create(options, message):
    with pytest.raises((ConfigError, unetzoo.UnknownNameError), match=message):
        unetzoo.create("unet", **options)
