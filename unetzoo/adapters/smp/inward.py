"""The architectures of segmentation_models_pytorch as `smp/<name>`, on any encoder of smp or timm."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.base import SegmentationModel
from torch import nn

from unetzoo.adapters.timm.families import takes
from unetzoo.adapters.timm.layers import set_grad_checkpointing
from unetzoo.adapters.timm.weights import (
    preprocessing_of,
    provenance_of,
    read_source,
    refuse_unused_weights,
    without_classifier_warnings,
)
from unetzoo.adapters.wrapping import WrappedModel, component
from unetzoo.applied import Provenance
from unetzoo.components.binding import call
from unetzoo.components.spec import split
from unetzoo.errors import ConfigError, UnknownNameError, nearest
from unetzoo.network import DenseModel
from unetzoo.nn.resampling import interpolate
from unetzoo.preprocessing import Preprocessing

# Normalize one value per channel after pooling the whole image: a batch of one cannot be trained on.
POOLING_TO_ONE = {"deeplabv3", "deeplabv3plus", "pan", "upernet"}

NOTES = {
    "dpt": "timm resamples the position embedding of a transformer in float32, whatever the type of the network.",
    "pan": "Images of 128 pixels leave its pyramid one pixel, whose normalization has next to no gradient.",
}


class SmpModel(WrappedModel):
    """An architecture of smp: its encoder, decoder and head as our parts, its numbers unchanged.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits.
        architecture: smp's name, in lower case.
        encoder: name of an encoder of smp (`resnet34`) or timm (`timm/resnet34`), or a mapping of the name and of
            what else `timm.create_model` takes, with `weights`: where `pretrained` loads from instead, a file or an
            installed package that holds them. Encoders of smp take no options.
        pretrained: load the encoder's ImageNet weights.
        **options: what else the class of smp takes (`decoder_channels`, `encoder_depth`).

    Raises:
        ConfigError: an unknown option, or an encoder that the architecture does not take.
    """

    encoder: nn.Module
    decoder: nn.Module
    head: nn.Module

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        architecture: str,
        encoder: str | Mapping[str, Any] | None = None,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        kind = smp.MODEL_ARCHITECTURES_MAPPING[architecture]
        encoder = encoder or ("timm/vit_small_patch16_224" if architecture == "dpt" else "resnet34")
        name, encoder_options = _encoder(encoder)
        config = timm.get_pretrained_cfg(name.removeprefix("tu-")) if name.startswith("tu-") else None
        if config is not None and takes(name.removeprefix("tu-"), "dynamic_img_size"):
            encoder_options.setdefault("dynamic_img_size", True)
        fixed = config is not None and config.fixed_input_size and "dynamic_img_size" not in encoder_options
        source = encoder_options.pop("weights", None)
        make = partial(_make, architecture, name, encoder_options, in_channels, options)
        network = make(num_classes, pretrained=pretrained, source=source)
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=2,
            divisor=_divisor(network) if kind.requires_divisible_input_shape else 1,
            fixed_size=config.input_size[1:] if config is not None and fixed else None,
            min_size=128 if architecture == "pan" else 32,
            make_head=partial(_make_head, make),
        )
        self.encoder = network.encoder
        self.decoder = network.decoder
        self.head = network.segmentation_head
        self.layouts = {"smp": {"segmentation_head": "head", "encoder": "encoder", "decoder": "decoder"}}
        if pretrained and config is not None:
            self.preprocessing = preprocessing_of(config, in_channels)
            self.provenance = provenance_of(config, source)
        elif pretrained:
            self.preprocessing = _preprocessing_of(name, in_channels)
            self.provenance = Provenance(
                trained_on="imagenet",
                weights=f"smp/{name}",
                library=f"segmentation_models_pytorch {smp.__version__}",
            )
        built_from = {"architecture": architecture, "encoder": {"name": name, **encoder_options}, **options}
        self.find_unused(self.fixed_size or (128, 128), built_from)

    def call(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run encoder, decoder and head; a transformer's encoder also gives its prefix tokens."""
        features = self.encoder(x)
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        return [interpolate(self.head(decoded), x.shape[2:])]

    @staticmethod
    def validate(options: Mapping[str, object], *, pretrained: bool) -> None:
        """Refuse `weights` of the encoder that would not be loaded."""
        refuse_unused_weights(split(options.get("encoder"))[1], pretrained=pretrained)

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        """Enable activation checkpointing of blocks; backbones of timm do it timm's own way.

        An encoder that is not made of blocks is computed again as a whole.
        """
        super().set_gradient_checkpointing(enable)
        inner = {name for name in self._checkpointed if name.startswith("encoder.")}
        backbone = getattr(self.encoder, "model", None)
        by_timm = isinstance(backbone, nn.Module) and set_grad_checkpointing(backbone, enable)
        if enable and (isinstance(backbone, nn.Module) or not inner):
            outer = [name for name in self._checkpointed if name not in inner]
            self._checkpointed = (*outer, *([] if by_timm else ["encoder"]))


class SmpProvider:
    """Serves `smp/<architecture>`."""

    def names(self, kind: str) -> Iterable[str]:
        """Every architecture of smp, for models."""
        return list(smp.MODEL_ARCHITECTURES_MAPPING) if kind == "model" else []

    def get(self, kind: str, name: str) -> partial[DenseModel]:
        """Return the architecture."""
        if kind != "model" or name not in smp.MODEL_ARCHITECTURES_MAPPING:
            raise UnknownNameError(f"smp has no {kind} {name!r}{nearest(name, self.names(kind))}")
        title = smp.MODEL_ARCHITECTURES_MAPPING[name].__name__
        card = {
            "title": f"{title} of segmentation_models_pytorch",
            "authors": "Pavel Iakubovskii and contributors",
            "reference": "https://github.com/qubvel-org/segmentation_models.pytorch",
            "license": "MIT",
            "tags": ["smp", "pretrained-encoder"],
            "capabilities": {"dimensions": [2], "batch1_train": name not in POOLING_TO_ONE},
            "follows": "smp's own modules, so that its numbers are these. Parameters that the architecture builds and "
            "does not use (the deep stages of PSPNet's encoder, the head of DPT's) stay and do not learn. "
            f"{NOTES.get(name, '')}".rstrip(),
        }
        return component(SmpModel, card, architecture=name)


def _make(
    architecture: str,
    encoder: str,
    encoder_options: Mapping[str, Any],
    in_channels: int,
    options: Mapping[str, Any],
    num_classes: int,
    *,
    pretrained: bool = False,
    source: str | None = None,
) -> SegmentationModel:
    kind = smp.MODEL_ARCHITECTURES_MAPPING[architecture]
    weights = ("imagenet" if not encoder.startswith("tu-") else True) if pretrained else None
    given = {"encoder_name": encoder, "encoder_weights": weights, "in_channels": in_channels, "classes": num_classes}
    if pretrained and source is not None:
        overlay = {"state_dict": read_source(source, encoder.removeprefix("tu-"))}
        encoder_options = {**encoder_options, "pretrained_cfg_overlay": overlay}
    # The aux head and an activation would break the contract: one tensor of logits.
    given |= {"activation": None, "aux_params": None} if "activation" in inspect.signature(kind).parameters else {}
    with without_classifier_warnings():
        return call(partial(kind, **encoder_options), options, name=f"'smp/{architecture}'", foreign=True, **given)


def _make_head(make: partial[SegmentationModel], num_classes: int) -> nn.Module:
    return make(num_classes).segmentation_head


def _encoder(encoder: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return smp's name of an encoder, and the options for timm."""
    options = {"name": encoder} if isinstance(encoder, str) else dict(encoder)
    name = options.pop("name", "")
    prefix, _, backbone = name.rpartition("/")
    if prefix == "timm" and timm.is_model(backbone):
        return f"tu-{backbone}", options
    known = [*smp.encoders.get_encoder_names(), *(f"timm/{backbone}" for backbone in timm.list_models())]
    if name not in known:
        raise ConfigError(f"unknown encoder {name!r}: expected one of smp's, or timm/<backbone>{nearest(name, known)}")
    if options:
        raise ConfigError(f"smp's encoder {name!r} takes no options; got {', '.join(options)}")
    return name, {}


def _preprocessing_of(encoder: str, in_channels: int) -> Preprocessing:
    """What images smp's ImageNet weights expect; smp adapts the first convolution to other than three channels."""
    found = smp.encoders.get_preprocessing_params(encoder)
    order = "bgr" if found["input_space"] == "BGR" else "rgb"
    published = Preprocessing(channels=order, input_range=found["input_range"], mean=found["mean"], std=found["std"])
    return published.for_channels(in_channels)


def _divisor(network: SegmentationModel) -> int:
    strides = getattr(network.encoder, "output_strides", None)
    # DPT joins the levels by twos, down to twice the patch.
    return int(2 * max(strides) if strides else network.encoder.output_stride)
