"""Every named model and every adapter, narrowed so that a CPU is enough and otherwise as it is, under the suite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import unetzoo
from unetzoo.config.resolving import resolve
from unetzoo.conformance import Report, all_checks, check_model
from unetzoo.errors import UnetzooError

WIDTHS = re.compile("channels|classifier|width|widths|mid|filters|features|hidden|growth")
TRANSFORMER = {"embed_dim": 24, "depth": 2, "heads": 2, "mlp_dim": 48}
ONE_A_STAGE = {"encoder": {"depths": [1] * 5, "classifier": 512}}
FEW_BLOCKS = {"encoder": {"depths": [1, 2, 1, 1, 1]}, "decoder": {"depths": [1, 1, 2, 1]}}
NARROW: dict[str, dict[str, dict[str, object]]] = {
    "swin_unet": {"model": {"embed_dim": 12, "heads": [1, 1, 2, 2]}},
    "tiramisu": {"encoder": {"depths": [1] * 6}, "decoder": {"depths": [1] * 5}},
    "transunet": {"model": TRANSFORMER},
    "transunet_vit": {"model": TRANSFORMER},
    **dict.fromkeys(("fcn8s", "fcn8s_at_once", "fcn16s", "fcn32s"), ONE_A_STAGE),
    **dict.fromkeys(("mednext_m", "mednext_l"), FEW_BLOCKS),
    "diffusers_unet2d_base": {"model": {"block_out_channels": [64, 128, 128, 256]}},
    "nnunet_resenc": {"encoder": {"depths": [1, 2, 1, 1, 1, 1]}},
    **{name: {"head": {"hidden": 64}} for name in unetzoo.list_models("*link*") if "/" not in name},
}
# All levels of an unpadded network take volumes of up to 188 voxels a side, the first two 20; they lose so many.
MARGINS_OF_TWO = {"unet_valid": 16, "unet_valid_bn": 18, "unet_three_level": 16}
THREE_LEVELS = {"encoder": {"channels": [8, 16, 32]}}
THREE_STAGES = {
    "encoder": {"channels": [8, 8, 8], "mid": [4, 4, 4], "heights": [4, 3, 3], "dilated": 1},
    "decoder": {"decoder_channels": [8, 8], "mid": [4, 4], "heights": [3, 4]},
}
# With all their levels these take minutes, or volumes too large for a CPU.
FEWER_LEVELS: dict[int, dict[str, dict[str, dict[str, object]]]] = {
    2: {
        "u2net": THREE_STAGES,
        **dict.fromkeys(("unet3p_cgm", "unet3p_deep"), THREE_LEVELS),
        "tiramisu": {"encoder": {"depths": [1] * 4}, "decoder": {"depths": [1] * 3}},
    },
    3: {
        **{name: {"encoder": {"channels": [8, 16]}} for name in MARGINS_OF_TWO},
        **dict.fromkeys(("u2net", "u2netp", "isnet"), THREE_STAGES),
        **dict.fromkeys(("unet3d", "unet3p", "unet3p_cgm", "unet3p_deep", "unet_seven_level"), THREE_LEVELS),
        **dict.fromkeys(("r2unet", "r2attention_unet", "inception_unet"), THREE_LEVELS),
        "tiramisu": {"encoder": {"depths": [2, 2, 2]}, "decoder": {"depths": [2, 2]}},
    },
}
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


def narrowed(value: object, least: int, key: str = "") -> object:
    """A config with every width divided by eight, but `least` at least; ResNets become the smallest there is."""
    if isinstance(value, Mapping):
        return {k: narrowed(v, least, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [narrowed(item, least, key) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and WIDTHS.search(key) and value > least:
        return max(least, value // (8 * least) * least)
    if isinstance(value, str) and re.fullmatch(r"timm/resne[xt]+\w+", value):
        return "timm/test_resnet"
    return value


def small(name: str, ndim: int, *, all_levels: bool = False) -> dict[str, object]:
    """The narrowed config, or the model's own where no narrowed one can be built; with fewer levels unless told."""
    if name in ADAPTERS:
        return {"model": {"name": name, **ADAPTERS[name]}}
    own = resolve(name).data
    card = {key: value for key, value in own["card"].items() if key not in ("name", "source", "sizes")}
    changed = NARROW.get(name, {})
    if name in FEWER_LEVELS[ndim] and not all_levels:
        changed, card["min_size"] = FEWER_LEVELS[ndim][name], None
    if ndim == 3 and name in MARGINS_OF_TWO:
        margin = MARGINS_OF_TWO[name]
        card |= {"min_size": margin + 2, "unpadded": {"margin": margin, "divisor": 2, "offset": 0}}
    parts = {part: {**own[part], **changes} for part, changes in changed.items()}
    for least in (8, 2):
        config = {key: narrowed(value, least, key) for key, value in {**own, **parts}.items()} | {"card": card}
        try:
            unetzoo.create(config)
        except UnetzooError:
            continue
        return config
    return {**own, "card": card}


def examine(
    name: str,
    ndim: int,
    *,
    slow: bool = False,
    device: str = "cpu",
    checks: Iterable[str] | None = None,
    all_levels: bool = False,
) -> Report:
    """The report on the narrowed network: all fast checks, the slow ones too if asked for, or those given.

    On another device than the CPU these are the checks that depend on it.
    """
    known = EXPECTED.get(name, {}) | (EXPECTED_ON_CUDA.get(name, {}) if device != "cpu" else {})
    profile = "full" if device == "cpu" else "cuda"
    asked = [c.id for c in all_checks() if profile in c.profiles and (slow or c.cost == "fast")]
    return check_model(
        small(name, ndim, all_levels=all_levels),
        ndim=ndim,
        device=device,
        checks=asked if checks is None else checks,
        in_channels=1 if name in ONE_CHANNEL else 3,
        capabilities=unetzoo.info(name).capabilities,
        exclude=["check_metadata"],
        expected_failures=known,
    )
