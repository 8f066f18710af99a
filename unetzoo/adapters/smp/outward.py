"""Our parts inside segmentation_models_pytorch: decoders as its architectures, encoders as its encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base import ClassificationHead, SegmentationModel
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import nn

from unetzoo import registry
from unetzoo.components.parts import Encoder
from unetzoo.config.resolving import resolve, validate
from unetzoo.config.schema import ModelConfig, PartConfig
from unetzoo.errors import ConfigError
from unetzoo.factory import part_builders
from unetzoo.nn import dims

PREFIX = "unetzoo-"


class SmpArchitecture(SegmentationModel):
    """A center, a decoder and a head of unetzoo behind an encoder of smp; `install` makes one class a name.

    Takes what every model of smp takes. The decoder goes by the strides of the encoder's features, so that any image
    size comes back at its own size.
    """

    requires_divisible_input_shape = False
    parts: ModelConfig

    def __init__(
        self,
        encoder_name: str = "resnet34",
        encoder_depth: int = 5,
        encoder_weights: str | None = "imagenet",
        in_channels: int = 3,
        classes: int = 1,
        aux_params: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(
            encoder_name, in_channels=in_channels, depth=encoder_depth, weights=encoder_weights
        )
        self.levels = _levels(self.encoder.out_channels, self.parts.encoder)
        channels = [self.encoder.out_channels[level] for level in self.levels]
        strides = [min(2**level, self.encoder._output_stride) for level in self.levels]
        make = part_builders(self.parts)
        self.center = make["center"](channels[-1], ndim=2)
        self.decoder = make["decoder"](channels, strides, ndim=2)
        self.segmentation_head = make["head"](self.decoder.channels, self.decoder.strides, classes, ndim=2)
        self.classification_head = (
            None if aux_params is None else ClassificationHead(self.encoder.out_channels[-1], **aux_params)
        )
        self.name = f"{type(self).__name__.lower()}-{encoder_name}"

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the logits, and with `aux_params` those of the whole image too."""
        features = self.encoder(x)
        chosen = [features[level] for level in self.levels]
        chosen[-1] = self.center(chosen[-1])
        masks = self.segmentation_head(self.decoder(chosen), size=x.shape[2:])
        if self.classification_head is None:
            return masks
        return masks, self.classification_head(features[-1])


class SmpEncoder(nn.Module, EncoderMixin):
    """An encoder of unetzoo that gives what smp expects: the image, then one map for each stride 2, 4, ..., 2**depth.

    Where the encoder has features at full resolution they take the image's place. A stride that it lacks has no
    channels; strides beyond its coarsest are max-pooled.
    """

    def __init__(self, component: str, depth: int = 5, output_stride: int = 32) -> None:
        super().__init__()
        self.component = component
        self._depth = depth
        self._output_stride = output_stride
        self.set_in_channels(3)

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:
        """Build the encoder for `in_channels`."""
        self._in_channels = in_channels
        self.part = cast(Callable[..., nn.Module], registry.get("encoder", self.component))(in_channels, ndim=2)
        encoder = cast(Encoder, self.part)
        self.strides = [dims.max_stride(stride) for stride in encoder.strides]
        known = dict(zip(self.strides, encoder.channels, strict=True))
        wanted = [2**level for level in range(1, self._depth + 1)]
        last = encoder.channels[-1]
        self._out_channels = [
            known.get(1, in_channels),
            *(known.get(stride, last if stride > self.strides[-1] else 0) for stride in wanted),
        ]

    def make_dilated(self, output_stride: int) -> None:
        """Refuse: encoders of unetzoo have an option for their strides."""
        raise ConfigError(f"{PREFIX}{self.component} cannot be dilated to output stride {output_stride}")

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor a stride."""
        found = dict(zip(self.strides, self.part(x), strict=True))
        features = [found.get(1, x)]
        for level in range(1, self._depth + 1):
            stride = 2**level
            if stride in found:
                features.append(found[stride])
            elif stride > self.strides[-1]:
                features.append(nn.functional.max_pool2d(features[-1], 2, ceil_mode=True))
            else:
                features.append(x.new_empty(x.shape[0], 0, *(dims.divide_up(n, stride) for n in x.shape[2:])))
        return features


def install() -> list[str]:
    """Add our decoders to smp's architectures and our encoders to its encoders, for this process; return the names.

    A decoder becomes an architecture of its own name; a named model of four parts becomes one too, as does its name
    without the encoder's number (`dlinknet34` and `dlinknet`). Encoders are called `unetzoo-<name>`. What smp has
    already keeps its name. Doing it twice changes nothing.
    """
    architectures: dict[str, ModelConfig] = {}
    for entry in registry.entries("decoder"):
        config = ModelConfig(
            encoder=PartConfig(name="conv"), decoder=PartConfig(name=entry.name), head=PartConfig(name="conv")
        )
        architectures.setdefault(entry.name, config)
    for entry in registry.entries("model"):
        network = _network(entry)
        if network is not None:
            architectures.setdefault(entry.name, network)
            architectures.setdefault(entry.name.rstrip("0123456789"), network)
    added = []
    for name, config in architectures.items():
        if name not in smp.MODEL_ARCHITECTURES_MAPPING:
            added.append(_add_architecture(name, config))
    for entry in registry.entries("encoder"):
        name = PREFIX + entry.name
        if name not in smp.encoders.encoders:
            smp.encoders.encoders[name] = {
                "encoder": SmpEncoder,
                "pretrained_settings": {},
                "params": {"component": entry.name},
            }
            added.append(name)
    return added


def _add_architecture(name: str, config: ModelConfig) -> str:
    """Make the class, where smp looks for it by name and when it loads what was saved."""
    title = "Unetzoo" + "".join(word.capitalize() for word in name.split("_"))
    kind = type(
        title, (SmpArchitecture,), {"parts": config, "__module__": __name__, "__doc__": SmpArchitecture.__doc__}
    )
    smp.MODEL_ARCHITECTURES_MAPPING[name] = kind
    setattr(smp, title, kind)
    return name


def _network(entry: registry.Entry) -> ModelConfig | None:
    if entry.config is None:
        return None
    config, mistakes = validate(resolve(f"{entry.source}:{entry.name}"))
    return config if config is not None and not mistakes and config.model is None else None


def _levels(channels: Sequence[int], encoder: PartConfig | None) -> list[int]:
    """Levels of smp's features, from the stride-2 one, that a decoder gets; without those of no channels."""
    chosen = encoder.options.get("levels") if encoder is not None else None
    known = [level for level in range(1, len(channels)) if channels[level] > 0]
    return [level for level in known if chosen is None or level - 1 in cast(Sequence[int], chosen)]
