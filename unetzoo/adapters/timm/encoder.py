"""Encoders from timm: any backbone that gives feature maps, at any image size, convolutional ones in 3-D as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import timm
import torch
from timm.layers import Format
from timm.models import FeatureInfo, PretrainedCfg
from torch import nn
from torch.nn import functional as F

from unetzoo.adapters.timm.families import family, family_name, takes
from unetzoo.adapters.timm.inflation import inflate
from unetzoo.adapters.timm.layers import layer_order, no_weight_decay, set_grad_checkpointing
from unetzoo.adapters.timm.pyramid import STRIDES, Pyramid
from unetzoo.adapters.timm.weights import (
    preprocessing_of,
    provenance_of,
    read_source,
    refuse_unused_weights,
    without_classifier_warnings,
)
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import checkpointing
from unetzoo.nn.resampling import fit, interpolate, interpolate_antialiased

Extent = tuple[int, int]


class TimmEncoder(nn.Module):
    """A timm backbone: (N, in_channels, *S) to its feature maps, finest first, of size ceil(S / stride) each.

    The image is padded with zeros, at the bottom and on the right, to what the backbone divides by. A backbone whose
    weights are made for one image size sees the image resized to that size, which `img_size` sets where timm can
    build it for another. Strides that are no power of two are resampled to the nearest one. A backbone of one stride
    (plain transformers, mixers) gets the simple feature pyramid on its last features: strides 4 to 32. With `ndim=3`
    the layers of a convolutional backbone are inflated.

    Args:
        in_channels: channels of the image; other than three, timm adapts the first convolution and its weights.
        ndim: 2, or 3 for a backbone whose layers have a 3-D form.
        backbone: architecture, with or without a tag (`resnet34.a1_in1k`).
        levels: levels to return, by index from the finest; default: all.
        depth: how many levels to give, from the finest; an alternative to `levels`.
        output_stride: the coarsest stride, where timm can dilate the backbone (8 or 16).
        img_size: the image size that the backbone is built for, one number or (H, W).
        pyramid_channels: channels of every level of the simple feature pyramid.
        pretrained: load weights: timm's own, or those of `weights`.
        weights: where `pretrained` loads from instead: a file, or the name of an installed package that holds them.
        **options: what else `timm.create_model` takes for this backbone.

    Raises:
        ConfigError: the backbone cannot be an encoder, or does not take an option.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        backbone: str,
        levels: Sequence[int] | None = None,
        depth: int | None = None,
        output_stride: int | None = None,
        img_size: int | Extent | None = None,
        pyramid_channels: int = 256,
        pretrained: bool = False,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        facts = family(backbone)
        if facts.refused:
            raise ConfigError(f"timm's {backbone!r} cannot be an encoder: {facts.refused}")
        chosen = _chosen(levels, depth)
        config = timm.get_pretrained_cfg(backbone) or PretrainedCfg()
        dynamic = takes(backbone, "dynamic_img_size")
        fixed = config.fixed_input_size and not dynamic
        given = {
            **({"dynamic_img_size": True} if dynamic else {}),
            **({"img_size": img_size} if img_size is not None else {}),
            **({"output_stride": output_stride} if output_stride is not None else {}),
            **({"out_indices": chosen} if chosen is not None and not facts.flat else {}),
            **options,
        }
        self.options = {key: value for key, value in given.items() if key != "out_indices"}
        if pretrained and weights is not None:
            given["pretrained_cfg_overlay"] = {"state_dict": read_source(weights, backbone)}
        self.backbone = backbone
        self.checkpoint_whole = False
        self.model = _build(backbone, in_channels, given, pretrained=pretrained)
        for name in facts.unused:
            _remove(self.model, name)
        if ndim == 3:
            inflate(self.model, backbone, family_name(backbone))
        self.preprocessing = preprocessing_of(config, in_channels, ndim) if pretrained else None
        self.provenance = provenance_of(config, weights) if pretrained else None
        self.channels_last = getattr(self.model, "output_fmt", None) == Format.NHWC
        self.unpadded = facts.unpadded
        self.image_size: Extent | None = None
        if fixed:
            self.image_size = _pair(img_size if img_size is not None else config.input_size[1:])
        info = cast(FeatureInfo, self.model.feature_info)
        self.native_strides: list[int] = info.reduction()
        self.channels: list[int] = info.channels()
        self.strides = [2 ** round(math.log2(stride)) for stride in self.native_strides]
        coarsest = max(self.native_strides)
        self.divisor = math.lcm(facts.multiple, *(coarsest * block for block in _block_sizes(self.model)))
        self.smallest = facts.smallest
        self.pyramid: Pyramid | None = None
        if len(set(self.native_strides)) == 1 and len(self.native_strides) > 1:
            if not facts.flat and chosen is not None:
                raise ConfigError(f"timm's {backbone!r} has one stride; create it without levels and depth")
            source, width = self.strides[-1], self.channels[-1]
            self.native_strides = self.native_strides[-1:]
            self.strides = [STRIDES[index] for index in _within(chosen, len(STRIDES), backbone)]
            self.channels = [pyramid_channels] * len(self.strides)
            self.pyramid = Pyramid(width, pyramid_channels, source=source, strides=self.strides)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        size = x.shape[2:]
        with checkpointing([self.model] if self.checkpoint_whole else []):
            features = list(self.model(self._adapt(x)))
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        if self.pyramid is not None:
            source = 2 ** round(math.log2(self.native_strides[0]))
            features = self.pyramid(self._resample(features[-1], self.native_strides[0], source, size))
            return [_crop(feature, _over(size, stride)) for feature, stride in zip(features, self.strides, strict=True)]
        return [
            self._resample(feature, native, stride, size)
            for feature, native, stride in zip(features, self.native_strides, self.strides, strict=True)
        ]

    @staticmethod
    def validate(options: Mapping[str, object], *, pretrained: bool) -> None:
        """Refuse `weights` that would not be loaded."""
        refuse_unused_weights(options, pretrained=pretrained)

    def set_gradient_checkpointing(self, enable: bool) -> None:
        """Turn timm's own checkpointing on or off; a backbone that has none is computed again as a whole."""
        self.checkpoint_whole = not set_grad_checkpointing(self.model, enable) and enable

    def layer_distances(self) -> dict[str, int] | None:
        """Return how many layers each parameter is from the decoder, in timm's order; None where timm has none.

        The pyramid that a backbone of one stride gets is new, like the decoder: 0.
        """
        order = layer_order(self.model, self.backbone, self.options)
        if order is None:
            return None
        deepest = max(order.values())
        distances = {f"model.{name}": deepest + 1 - place for name, place in order.items()}
        return {name: distances.get(name, 0) for name, _ in self.named_parameters()}

    def no_weight_decay(self) -> set[str]:
        """Return what timm keeps from weight decay."""
        return {f"model.{name}" for name in no_weight_decay(self.model, self.backbone, self.options)}

    def _adapt(self, x: torch.Tensor) -> torch.Tensor:
        """Bring the image to a size that the backbone takes."""
        if self.image_size is not None:
            return interpolate_antialiased(x, self.image_size)
        *depth, height, width = (want - have for want, have in zip(self._padded(x.shape[2:]), x.shape[2:], strict=True))
        if depth and depth[0] != 0:
            # As the inflated convolutions do it: a volume that is constant along its depth stays so.
            x = F.pad(x, (0, 0, 0, 0, 0, depth[0]), mode="replicate")
        if all(type(pixels) is int and pixels == 0 for pixels in (height, width)):
            return x
        return F.pad(x, (0, width, 0, height))

    def _padded(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(dims.round_up(max(side, self.smallest), self.divisor) for side in size)

    def _resample(self, feature: torch.Tensor, native: int, stride: int, size: Sequence[int]) -> torch.Tensor:
        """Bring features to the size that `stride` promises for an image of `size`."""
        want = _over(size, stride)
        if self.image_size is not None:
            return interpolate_antialiased(feature, want)
        if native != stride:
            feature = interpolate(feature, _over(self._padded(size), stride))
        elif self.unpadded:
            feature = fit(feature, _over(self._padded(size), stride))
        return _crop(feature, want)


def _build(backbone: str, in_channels: int, options: dict[str, Any], *, pretrained: bool) -> nn.Module:
    try:
        with without_classifier_warnings():
            return timm.create_model(
                backbone, pretrained=pretrained, features_only=True, in_chans=in_channels, **options
            )
    except (TypeError, ValueError, AssertionError, IndexError, NotImplementedError) as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "pretrained_cfg_overlay")
        raise ConfigError(
            f"timm cannot build {backbone!r} with {listed or 'no options'}: {error or type(error).__name__}"
        ) from error


def _remove(model: nn.Module, name: str) -> None:
    path, _, last = name.rpartition(".")
    parent = model.get_submodule(path)
    if hasattr(parent, last):
        setattr(parent, last, nn.Identity() if isinstance(getattr(parent, last), nn.Module) else None)


def _block_sizes(model: nn.Module) -> set[int]:
    """Sides of the windows that block-local attention cuts features into; they must divide."""
    sizes = {getattr(module, "block_size", 1) for module in model.modules()}
    return {size for size in sizes if isinstance(size, int)}


def _chosen(levels: Sequence[int] | None, depth: int | None) -> tuple[int, ...] | None:
    if levels is not None and depth is not None:
        raise ConfigError("levels and depth both say which levels to give; leave one of them out")
    if depth is not None and depth < 1:
        raise ConfigError(f"depth is {depth}; expected at least 1")
    return tuple(range(depth)) if depth is not None else None if levels is None else tuple(levels)


def _within(chosen: tuple[int, ...] | None, count: int, backbone: str) -> tuple[int, ...]:
    chosen = tuple(range(count)) if chosen is None else chosen
    if not chosen or max(chosen) >= count or min(chosen) < 0:
        raise ConfigError(f"{backbone!r} has {count} levels; got levels {list(chosen)}")
    return chosen


def _pair(size: int | Sequence[int]) -> Extent:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _over(size: Sequence[int], stride: int) -> tuple[int, ...]:
    return tuple(dims.divide_up(side, stride) for side in size)


def _crop(feature: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    for axis, side in enumerate(size, start=2):
        feature = feature.narrow(axis, 0, side)
    return feature
