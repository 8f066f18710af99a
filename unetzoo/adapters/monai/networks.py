"""What must be known of MONAI's networks to put them behind our contract, and the repairs of their known defects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from unetzoo.nn import dims

Options = Mapping[str, Any]
Divisor = int | tuple[int, ...]


def _of_strides(options: Options, ndim: int) -> Divisor:
    steps = [dims.per_axis(tuple(s) if isinstance(s, list) else s, ndim) for s in options["strides"]]
    return tuple(math.prod(axis) for axis in zip(*steps, strict=True))


def _of_blocks(options: Options, ndim: int) -> Divisor:
    return 2 ** (len(options.get("blocks_down", (1, 2, 2, 4))) - 1)


def _turn_off_dropout(network: nn.Module, options: Options, ndim: int) -> None:
    """Give VNet the dropout of its dimensions, and in the last two stages the probability that was asked for.

    MONAI drops with `Dropout3d` in two dimensions as well, which takes whole samples for channels, and leaves 0.5 in
    two of the stages whatever its options say.
    """
    asked = options.get("dropout_prob_up", (0.5, 0.5))
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.Dropout3d):
            late = path.startswith(("up_tr64.", "up_tr32."))
            network.set_submodule(path, dims.channel_dropout(ndim)(asked[1] if late else module.p))


def _drop_second_registration(network: nn.Module, options: Options, ndim: int) -> None:
    """Take the nested copy of DynUNet's layers out of its state dict, with the activations that it keeps."""
    del network.skip_layers
    del network.heads


def _clear_attention(network: nn.Module, options: Options, ndim: int) -> None:
    """Take UNETR's empty tensors, which are registered nowhere and not read, out of its attention."""
    for block in network.get_submodule("vit.blocks").children():
        for name in ("att_mat", "causal_mask"):
            setattr(block.attn, name, None)


def _dynunet(network: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Run DynUNet from its lists of layers; heads of the levels below the finest in training."""
    skips = [network.input_block(x)]
    for down in network.downsamples:
        skips.append(down(skips[-1]))
    x = network.bottleneck(skips[-1])
    decoded: list[torch.Tensor] = []
    for up in network.upsamples:
        x = up(x, skips.pop())
        decoded.insert(0, x)
    logits = [network.output_block(x)]
    if network.deep_supervision and network.training:
        heads = network.deep_supervision_heads
        logits += [head(level) for head, level in zip(heads, decoded[1:], strict=False)]
    return logits


def _last_first(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Run U-Net++, which gives a list, the deepest nest last; all in training, the deepest alone in evaluation."""
    logits = list(reversed(network(x)))
    return logits if network.training else logits[:1]


def _as_list(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    found = network(x)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@dataclass(frozen=True)
class Facts:
    """One network of MONAI.

    name: of the class.
    title, authors, year, paper: the publication.
    divisor: what the sides of an image must divide by, from the options.
    defaults: options that MONAI wants and we give.
    deep_supervision: the option that asks for several outputs, and its value where it is asked for.
    sized: `img_size` fixes the size of the images.
    dims_option: the argument that takes `ndim`.
    repair: changes the network once it is built.
    call: runs it, to a list of logits, finest first.
    frozen: parameters that stay, for the sake of checkpoints, and do not learn.
    notes: defects that stay.
    """

    name: str
    title: str
    authors: str
    year: int
    paper: str
    divisor: Callable[[Options, int], Divisor] = lambda options, ndim: 1
    defaults: Mapping[str, Any] = field(default_factory=dict)
    deep_supervision: tuple[str, object] | None = None
    sized: bool = False
    repair: Callable[[nn.Module, Options, int], None] | None = None
    call: Callable[[Any, torch.Tensor], list[torch.Tensor]] = _as_list
    frozen: tuple[str, ...] = ()
    notes: str = ""


_UNET = {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)}
_NNUNET = {"kernel_size": [3] * 5, "strides": [1, 2, 2, 2, 2], "upsample_kernel_size": [2] * 4}

NETWORKS = {
    facts.name.lower(): facts
    for facts in (
        Facts(
            "AttentionUnet",
            "Attention U-Net",
            "Ozan Oktay and others",
            2018,
            "https://arxiv.org/abs/1804.03999",
            divisor=_of_strides,
            defaults=_UNET,
        ),
        Facts(
            "BasicUNet",
            "U-Net for cell counting, detection and morphometry",
            "Thorsten Falk and others",
            2019,
            "https://doi.org/10.1038/s41592-018-0261-2",
            divisor=lambda options, ndim: 16,
        ),
        Facts(
            "BasicUNetPlusPlus",
            "UNet++: A Nested U-Net Architecture",
            "Zongwei Zhou and others",
            2018,
            "https://arxiv.org/abs/1807.10165",
            divisor=lambda options, ndim: 16,
            deep_supervision=("deep_supervision", True),
            call=_last_first,
            frozen=tuple(f"network.final_conv_0_{level}.{name}" for level in (1, 2, 3) for name in ("weight", "bias")),
            notes="Without deep supervision its three other heads stay, and do not learn.",
        ),
        Facts(
            "DynUNet",
            "nnU-Net",
            "Fabian Isensee and others",
            2021,
            "https://arxiv.org/abs/1809.10486",
            divisor=_of_strides,
            defaults=_NNUNET,
            deep_supervision=("deep_supervision", True),
            repair=_drop_second_registration,
            call=_dynunet,
        ),
        Facts(
            "HighResNet",
            "On the Compactness, Efficiency, and Representation of 3D Convolutional Networks",
            "Wenqi Li and others",
            2017,
            "https://arxiv.org/abs/1707.01992",
            notes="Its logits end in a normalization and a ReLU, as MONAI builds them: none is negative.",
        ),
        Facts(
            "MedNeXt",
            "MedNeXt: Transformer-driven Scaling of ConvNets",
            "Saikat Roy and others",
            2023,
            "https://arxiv.org/abs/2303.09975",
            divisor=lambda options, ndim: 2 ** len(options.get("blocks_down", (2, 2, 2, 2))),
            deep_supervision=("deep_supervision", True),
        ),
        Facts(
            "SegResNet",
            "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization",
            "Andriy Myronenko",
            2018,
            "https://arxiv.org/abs/1810.11654",
            divisor=_of_blocks,
        ),
        Facts(
            "SegResNetDS",
            "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization",
            "Andriy Myronenko",
            2018,
            "https://arxiv.org/abs/1810.11654",
            divisor=_of_blocks,
            deep_supervision=("dsdepth", 3),
        ),
        Facts(
            "SwinUNETR",
            "Swin UNETR",
            "Ali Hatamizadeh and others",
            2022,
            "https://arxiv.org/abs/2201.01266",
            divisor=lambda options, ndim: options.get("patch_size", 2) ** 5,
            notes="It makes the masks of its attention in float32, and cannot be built on the meta device.",
        ),
        Facts(
            "UNet",
            "Left-Ventricle Quantification Using Residual U-Net",
            "Eric Kerfoot and others",
            2018,
            "https://doi.org/10.1007/978-3-030-12029-0_40",
            divisor=_of_strides,
            defaults=_UNET,
        ),
        Facts(
            "UNETR",
            "UNETR: Transformers for 3D Medical Image Segmentation",
            "Ali Hatamizadeh and others",
            2021,
            "https://arxiv.org/abs/2103.10504",
            defaults={"img_size": 96},
            sized=True,
            repair=_clear_attention,
            frozen=tuple(
                f"network.vit.blocks.{block}.norm_cross_attn.{name}"
                for block in range(12)
                for name in ("weight", "bias")
            ),
            notes="Images of another size than `img_size` are resized to it and the logits back. The normalization of "
            "the cross attention, which it builds and does not use, stays and does not learn.",
        ),
        Facts(
            "VNet",
            "V-Net",
            "Fausto Milletari and others",
            2016,
            "https://arxiv.org/abs/1606.04797",
            divisor=lambda options, ndim: 16,
            repair=_turn_off_dropout,
            notes="The number of input channels must divide 16.",
        ),
    )
}
