"""What timm does not declare of its families of backbones; a family is a module of `timm.models`."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass

import timm
from torch import nn


@dataclass(frozen=True)
class Family:
    """Facts that hold for every backbone of a family.

    flat: all blocks work at one stride.
    unpadded: convolutions without padding make the features smaller than size over stride.
    multiple: the image's sides must be multiples of this, beyond the coarsest stride.
    smallest: the smallest side that leaves something of the coarsest level.
    unused: modules and parameters that serve the classifier alone, though timm keeps them in some of the backbones.
    refused: why no backbone of the family can be an encoder.
    """

    flat: bool = False
    unpadded: bool = False
    multiple: int = 1
    smallest: int = 1
    unused: tuple[str, ...] = ()
    refused: str = ""


_FLAT = (
    "beit cait convit convmixer deepseek_vit deit eva gemma4_vit mlp_mixer naflexvit qwen3_vit tnt vision_transformer "
    "vision_transformer_hybrid vision_transformer_relpos vision_transformer_sam vitamin volo xcit"
)

_FAMILIES = {
    **{name: Family(flat=True) for name in _FLAT.split()},
    "efficientvim": Family(unused=("model.weights", "model.weights_dist")),
    "gemma4_vit": Family(flat=True, multiple=48),
    "inception_resnet_v2": Family(unpadded=True, smallest=75),
    "inception_v3": Family(unpadded=True, smallest=75),
    "inception_v4": Family(unpadded=True, smallest=75),
    "nasnet": Family(unpadded=True),
    "pit": Family(unused=("body.norm",)),
    "pnasnet": Family(unpadded=True),
    "xception": Family(unpadded=True),
    "crossvit": Family(refused="its two branches see the image at two scales, so that their features form no pyramid"),
}


def family_name(backbone: str) -> str:
    """Return the family of a backbone: the module of timm that registers it."""
    return timm.model_entrypoint(backbone).__module__.rpartition(".")[2]


def family(backbone: str) -> Family:
    """Return the facts of a backbone's family."""
    return _FAMILIES.get(family_name(backbone), Family())


def takes(backbone: str, option: str) -> bool:
    """Whether the classes of a backbone's family name `option` among their arguments."""
    module = sys.modules[timm.model_entrypoint(backbone).__module__]
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, nn.Module)]
    return any(option in inspect.signature(cls).parameters for cls in classes)
