"""Encoders from timm: any backbone that gives feature maps, as `timm/<name>`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import timm
import torch
from timm.models import FeatureInfo, FeatureListNet
from torch import nn

from ..errors import ConfigError, UnknownNameError, nearest


class TimmEncoder(nn.Module):
    """A timm backbone: (N, in_channels, H, W) to its feature maps, finest first.

    `levels` picks some of them by index, for decoders that leave a level out. Further options go to
    `timm.create_model`. With `pretrained` timm loads its weights, the first convolution adapted to `in_channels`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ndim: int,
        backbone: str,
        levels: tuple[int, ...] | None = None,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if ndim != 2:
            raise ConfigError(f"timm backbones are two-dimensional; got ndim={ndim}")
        self.model = timm.create_model(
            backbone, features_only=True, in_chans=in_channels, out_indices=levels, pretrained=pretrained, **options
        )
        features = cast(FeatureInfo, self.model.feature_info)
        self.channels: list[int] = features.channels()
        self.strides: list[int] = features.reduction()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor a level."""
        return list(self.model(x))

    def set_gradient_checkpointing(self, enable: bool) -> None:
        """Turn timm's own checkpointing on or off."""
        cast(FeatureListNet, self.model).set_grad_checkpointing(enable)


class TimmProvider:
    """The namespace `timm/`: its backbones as encoders."""

    def names(self, kind: str) -> Iterable[str]:
        """Every architecture of timm, for encoders."""
        return timm.list_models() if kind == "encoder" else []

    def get(self, kind: str, name: str) -> partial[TimmEncoder]:
        """Return the encoder of one architecture, or one of its pretrained variants (`resnet34.a1_in1k`)."""
        if kind != "encoder":
            raise UnknownNameError(f"timm provides encoders, not a {kind} {name!r}")
        if not timm.is_model(name):
            raise UnknownNameError(f"timm {timm.__version__} has no model {name!r}{nearest(name, timm.list_models())}")
        return partial(TimmEncoder, backbone=name)
