"""The segmentation networks of torchvision as `torchvision/<name>`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import torch
import torchvision
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models import WeightsEnum, get_model_builder, get_model_weights
from torchvision.models.segmentation.lraspp import LRASPPHead

from unetzoo.adapters.timm.weights import refuse_unused_weights
from unetzoo.adapters.wrapping import WrappedModel, component
from unetzoo.applied import Classes, Provenance
from unetzoo.components.binding import call
from unetzoo.errors import ConfigError, UnknownNameError, nearest
from unetzoo.network import DenseModel
from unetzoo.nn.resampling import interpolate
from unetzoo.preprocessing import Preprocessing

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
        pretrained: load the backbone's ImageNet weights, or those of `weights`.
        weights: published weights of the whole network for `pretrained`, by torchvision's name (`"DEFAULT"`); they have
            21 classes.
        **options: what else torchvision's builder takes.

    Raises:
        ConfigError: an unknown option, or `weights` that do not fit or are given without `pretrained`.
    """

    encoder: nn.Module
    head: nn.Module

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        network: str,
        pretrained: bool = False,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=2,
            min_size=32,
            make_head=partial(_make_head, network),
        )
        source = _find_weights(network, weights) if pretrained else None
        made = _make(network, num_classes, **{"weights_backbone" if weights is None else "weights": source}, **options)
        self.encoder = cast(nn.Module, made.backbone)
        self.head = cast(nn.Module, made.classifier)
        if in_channels != 3:
            _adapt_first_convolution(self.encoder, in_channels, keep=pretrained)
        if source is not None:
            self._describe(source, whole=weights is not None)
        self.layouts = {"torchvision": {"backbone": "encoder", "classifier": "head"}}

    @staticmethod
    def validate(options: Mapping[str, object], *, pretrained: bool) -> None:
        """Raise `ConfigError` for `weights` without `pretrained`."""
        refuse_unused_weights(options, pretrained=pretrained, name="weights")

    def _describe(self, source: WeightsEnum, *, whole: bool) -> None:
        """Set what torchvision says of its weights; those of the backbone alone say nothing of classes."""
        transforms = source.transforms()
        side = (transforms.resize_size if whole else transforms.crop_size)[0]
        published = Preprocessing(
            channels="rgb",
            mean=transforms.mean,
            std=transforms.std,
            size=(side, side),
            interpolation=transforms.interpolation.value,
        )
        self.preprocessing = published.for_channels(self.in_channels)
        if whole:
            self.classes = Classes(names=source.meta["categories"], ignore_index=255)
        self.provenance = Provenance(
            weights=str(source), library=f"torchvision {torchvision.__version__}", source=source.url
        )

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
            # DeepLab normalizes one value per channel after pooling the whole image.
            "capabilities": {"dimensions": [2], "batch1_train": not name.startswith("deeplabv3")},
            "follows": "torchvision's own modules, without the auxiliary classifier.",
        }
        return component(TorchvisionModel, card, network=name)


def _find_weights(network: str, name: str | None) -> WeightsEnum:
    """Return published weights of the whole network by name, or without one the best of its backbone."""
    if name is None:
        default = inspect.signature(get_model_builder(network)).parameters["weights_backbone"].default
        return type(default).DEFAULT
    known = get_model_weights(network)
    if name not in known.__members__:
        raise ConfigError(f"'torchvision/{network}' has no weights {name!r} (weights: {', '.join(known.__members__)})")
    return known[name]


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
