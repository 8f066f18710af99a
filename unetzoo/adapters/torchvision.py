"""The segmentation networks of torchvision as `torchvision/<name>`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import torch
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models import get_model_builder
from torchvision.models.segmentation.lraspp import LRASPPHead

from unetzoo.adapters.wrapping import WrappedModel, component
from unetzoo.components.binding import call
from unetzoo.errors import UnknownNameError, nearest
from unetzoo.network import DenseModel
from unetzoo.nn.resampling import interpolate

NAMES = {
    "deeplabv3_mobilenet_v3_large": ("Rethinking Atrous Convolution", "1706.05587", 2017),
    "deeplabv3_resnet50": ("Rethinking Atrous Convolution", "1706.05587", 2017),
    "deeplabv3_resnet101": ("Rethinking Atrous Convolution", "1706.05587", 2017),
    "fcn_resnet50": ("Fully Convolutional Networks for Semantic Segmentation", "1411.4038", 2015),
    "fcn_resnet101": ("Fully Convolutional Networks for Semantic Segmentation", "1411.4038", 2015),
    "lraspp_mobilenet_v3_large": ("Searching for MobileNetV3", "1905.02244", 2019),
}


class TorchvisionModel(WrappedModel):
    """A segmentation network of torchvision: its backbone is our encoder, its classifier our head.

    Args:
        in_channels: channels of the image; other than three, pretrained weights are adapted as timm does it.
        num_classes: channels of the logits.
        network: torchvision's name.
        pretrained: load the backbone's ImageNet weights.
        **options: what else torchvision's builder takes.
    """

    encoder: nn.Module
    head: nn.Module

    def __init__(
        self, *, in_channels: int, num_classes: int, network: str, pretrained: bool = False, **options: Any
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=2,
            min_size=32,
            make_head=partial(_make_head, network),
        )
        made = _make(network, num_classes, weights_backbone="DEFAULT" if pretrained else None, **options)
        self.encoder = cast(nn.Module, made.backbone)
        self.head = cast(nn.Module, made.classifier)
        if in_channels != 3:
            _adapt_first_convolution(self.encoder, in_channels, keep=pretrained or options.get("weights") is not None)
        self.layouts = {"torchvision": {"backbone": "encoder", "classifier": "head"}}

    def call(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run backbone and classifier; the logits are interpolated to the image's size, as in torchvision."""
        features = self.encoder(x)
        logits = self.head(features if isinstance(self.head, LRASPPHead) else features["out"])
        return [interpolate(logits, x.shape[2:])]


class TorchvisionProvider:
    """Serves `torchvision/<name>`."""

    def names(self, kind: str) -> Iterable[str]:
        """The segmentation networks of torchvision, for models."""
        return list(NAMES) if kind == "model" else []

    def get(self, kind: str, name: str) -> partial[DenseModel]:
        """Return the network."""
        if kind != "model" or name not in NAMES:
            raise UnknownNameError(f"torchvision has no {kind} {name!r}{nearest(name, self.names(kind))}")
        title, paper, year = NAMES[name]
        card = {
            "title": title,
            "year": year,
            "paper": f"https://arxiv.org/abs/{paper}",
            "reference": "https://github.com/pytorch/vision",
            "license": "BSD-3-Clause",
            "tags": ["torchvision", "pretrained-encoder"],
            "ndim": [2],
            # DeepLab normalizes one value a channel after pooling the whole image.
            "capabilities": {"batch1_train": not name.startswith("deeplabv3")},
            "follows": "torchvision's own modules, without the auxiliary classifier.",
        }
        return component(TorchvisionModel, card, network=name)


def _make(network: str, num_classes: int, **options: Any) -> nn.Module:
    given = {"weights": None, "weights_backbone": None, "num_classes": num_classes, **options}
    return call(get_model_builder(network), given, name=f"'torchvision/{network}'", foreign=True)


def _make_head(network: str, num_classes: int) -> nn.Module:
    return cast(nn.Module, _make(network, num_classes).classifier)


def _adapt_first_convolution(backbone: nn.Module, in_channels: int, *, keep: bool) -> None:
    """Give the first convolution `in_channels`, with the weights it has or with fresh ones."""
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = in_channels
    weight = adapt_input_conv(in_channels, first.weight.detach())
    if not keep:  # as torchvision draws them: channels with the same weights would never learn to differ
        nn.init.kaiming_normal_(weight, mode="fan_out")
    first.weight = nn.Parameter(weight)
