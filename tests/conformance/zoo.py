"""Every named model in its tiny variant, and every adapter on small encoders, under the suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import unetzoo
from unetzoo.config.resolving import resolve
from unetzoo.conformance import Report, all_checks, check_model

TARGETS = [(name, ndim) for name in unetzoo.list_models() for ndim in unetzoo.info(name).ndim]
SMALL_ENCODER = {"encoder": "timm/test_resnet"}
THREE_DEEP = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
SMP_WIDTHS: dict[str, Mapping[str, object]] = {
    "smp/unet": THREE_DEEP,
    "smp/unetplusplus": THREE_DEEP,
    "smp/manet": THREE_DEEP | {"decoder_pab_channels": 16},
    "smp/linknet": {"encoder_depth": 3},
    **{f"smp/{name}": {"decoder_channels": 32} for name in ("deeplabv3", "deeplabv3plus")},
    "smp/upernet": {"encoder_depth": 4, "decoder_channels": 16},
    "smp/fpn": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    "smp/segformer": {"encoder_depth": 4, "decoder_segmentation_channels": 32},
    "smp/pspnet": {"psp_out_channels": 32},
}
FLAT = {"channels": [8, 16, 32], "strides": [2, 2]}
FEATURES = {"features": [8, 8, 16, 16, 32, 8]}
HIGH_RES = [
    {"name": "conv_0", "n_features": 8, "kernel_size": 3},
    *({"name": f"res_{n}", "n_features": 8 * n, "kernels": [3, 3], "repeat": 1} for n in (1, 2, 3)),
    {"name": "conv_1", "n_features": 32, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
]
UNETR = {"img_size": 64, "feature_size": 8, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4}
ADAPTERS: dict[str, Mapping[str, object]] = {
    **{name: SMALL_ENCODER | SMP_WIDTHS.get(name, {}) for name in unetzoo.list_models("smp/*")},
    "smp/dpt": {
        "encoder": "timm/test_vit",
        "decoder_intermediate_channels": [16, 16, 16, 16],
        "decoder_fusion_channels": 16,
    },
    **{name: {} for name in unetzoo.list_models("torchvision/*")},
    "monai/attentionunet": FLAT,
    "monai/basicunet": FEATURES,
    "monai/basicunetplusplus": FEATURES,
    "monai/dynunet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [8, 16, 32],
    },
    "monai/highresnet": {"layer_params": HIGH_RES},
    "monai/mednext": {"init_filters": 8, "blocks_down": [1] * 4, "blocks_bottleneck": 1, "blocks_up": [1] * 4},
    "monai/segresnet": {},
    "monai/segresnetds": {"init_filters": 8},
    "monai/swinunetr": {"feature_size": 12},
    "monai/unet": FLAT,
    "monai/unetr": UNETR,
    "monai/vnet": {},
}
EVERY = [*TARGETS, *[(name, 2) for name in ADAPTERS]]
ONE_CHANNEL = {"monai/vnet"}
# What is known of networks that are others', and told on their cards; one that is mended fails here.
POSITIONS = "timm resamples the position embedding in float32"
EXPECTED = {
    "monai/highresnet": {"check_raw_logits": "its logits end in a ReLU"},
    "smp/dpt": {
        "check_no_hidden_cast": POSITIONS,
        "check_accumulation": POSITIONS,
        "check_param_grads": "the encoder's head is built and not used",
        "check_hooks_fire": "the encoder is run by its method forward_intermediates",
    },
    "monai/swinunetr": {
        "check_no_hidden_cast": "the masks of its attention are made in float32",
        "check_device_context": "its drop rates are read from a tensor, which has no values on the meta device",
    },
    "monai/vnet": {"check_in_channels": "its number of input channels must divide 16"},
    "smp/pan": {
        "check_init_grad_scale": "its pyramid ends in one pixel, whose normalization over two images has no gradient"
    },
}

NO_KERNEL = "torch has no deterministic backward of"
EXPECTED_ON_CUDA = {
    name: {"check_deterministic_algorithms": f"{NO_KERNEL} {operation}"}
    for name, operation in {
        "monai/unetr": "antialiased resizing",
        "smp/dpt": "antialiased resizing",
        "smp/pspnet": "adaptive pooling",
        "smp/upernet": "adaptive pooling",
    }.items()
}


def small(name: str, ndim: int) -> dict[str, Any]:
    """The config of a network's tiny variant; of an adapter its options."""
    if name in ADAPTERS:
        return {"model": {"name": name, **ADAPTERS[name]}, "capabilities": unetzoo.info(name).capabilities.stated()}
    return {**resolve(name).for_ndim(ndim).tiny().data, "ndim": ndim}


def examine(
    name: str,
    ndim: int,
    *,
    slow: bool = False,
    device: str = "cpu",
    checks: Iterable[str] | None = None,
) -> Report:
    """The report on the tiny network: all fast checks, the slow ones too if asked for, or those given.

    On another device than the CPU these are the checks that depend on it.
    """
    known = EXPECTED.get(name, {}) | (EXPECTED_ON_CUDA.get(name, {}) if device != "cpu" else {})
    profile = "full" if device == "cpu" else "cuda"
    asked = [c.id for c in all_checks() if profile in c.profiles and (slow or c.cost == "fast")]
    config = small(name, ndim)
    return check_model(
        config,
        ndim=ndim,
        device=device,
        checks=asked if checks is None else checks,
        in_channels=1 if name in ONE_CHANNEL else 3,
        capabilities=config["capabilities"],
        exclude=["check_metadata"],
        expected_failures=known,
    )
