"""Every named model and every adapter passes the suite, on the CPU and on a CUDA device where one is there."""

from __future__ import annotations

import pytest

import unetzoo
from tests.conformance.zoo import ADAPTERS, EVERY, examine
from tests.devices import DEVICES
from unetzoo.conformance import Report

# A minute of a core each and more: their backbones come in one width, or their volumes are large.
HEAVY = {
    *("ternausnet11", "transunet", "nnunet_plain_anisotropic", "monai/unetr", "monai/vnet"),
    *unetzoo.list_models("torchvision/*"),
}
# But little different from another: an everyday run holds that other one to the suite.
SIBLINGS = {
    "attention_unet3d_deconv": "attention_unet3d",
    "diffusers_unet2d_tiny": "diffusers_unet2d",
    "dlinknet34_less_pool": "dlinknet34",
    "fcn16s": "fcn8s",
    "fcn32s": "fcn8s",
    "fcn8s_at_once": "fcn8s",
    "isnet": "u2net",
    "mednext_b": "mednext_s",
    "mednext_l": "mednext_m",
    "monai/basicunetplusplus": "monai/basicunet",
    "monai/swinunetr": "swin_unet",
    "r2attention_unet": "r2unet",
    "smp/unetplusplus": "smp/unet",
    "u2netp": "u2net",
    "unet3d_inplane": "unet3d",
    "unet3p": "unet3p_deep",
    "unet_seven_level": "unet",
    "unet_upsample": "unet_bilinear",
    "unet_valid": "unet_three_level",
    "unet_valid_bn": "unet_three_level",
    "vnet_prelu": "vnet",
    "wnet_big": "wnet",
}
# Their tiny variants are another network's.
ALIKE = {
    "dlinknet101": "dlinknet50",
    "linknet50": "linknet34",
    "linknext": "linknet34",
    "diffusers_unet2d_base": "diffusers_unet2d",
}
LEFT_OUT = {*HEAVY, *SIBLINGS, *ALIKE}
# The full suite, which holds the fast one.
FULL = [
    ("unet3d", 3),
    *[(name, 2) for name in ("unet", "unet_quarter", "linknet", "resunet", "vnet", "dunet", "autoencoder")],
    *[(name, 2) for name in ("fcn8s_deconv", "smp/unet", "monai/attentionunet", "monai/segresnet")],
]


def expect_clean(report: Report) -> None:
    found = report.failures + report.advice
    assert not found, "\n".join(f"{r.check}: {r.note}" for r in found)


def is_everyday(name: str, ndim: int) -> bool:
    return ndim == min(unetzoo.info(name).ndim) and name not in LEFT_OUT


def slow_unless(quick: bool, *case: object) -> object:
    return pytest.param(*case, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "ndim", "device"),
    [
        slow_unless(is_everyday(name, ndim) or device != "cpu", name, ndim, device)
        for device in DEVICES
        for name, ndim in EVERY
        if (name, ndim) not in FULL
    ],
)
def test_every_model_and_adapter_passes_the_fast_suite(name: str, ndim: int, device: str) -> None:
    expect_clean(examine(name, ndim, device=device))


@pytest.mark.parametrize(("name", "other"), {**SIBLINGS, **ALIKE}.items())
def test_what_an_everyday_run_leaves_to_another_network_is_not_left_out_there(name: str, other: str) -> None:
    assert name in unetzoo.list_models("*") + list(ADAPTERS)
    assert other not in LEFT_OUT


@pytest.mark.parametrize(("name", "same"), ALIKE.items())
def test_a_network_that_is_left_to_another_has_the_same_tiny_variant(name: str, same: str) -> None:
    built, other = (unetzoo.create(n, tiny=True, num_classes=3) for n in (name, same))
    assert repr(built) == repr(other)
    assert unetzoo.info(name).capabilities == unetzoo.info(same).capabilities


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "ndim"), FULL)
def test_a_spread_of_models_passes_the_full_suite(name: str, ndim: int, device: str) -> None:
    expect_clean(examine(name, ndim, slow=True, device=device))
