"""What timm knows of the layers of its backbones: how to compute them again, and their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import FeatureHookNet, group_parameters
from timm.models._features import FeatureGetterNet
from torch import nn


def set_grad_checkpointing(model: nn.Module, enable: bool) -> bool:
    """Turn timm's own checkpointing of a network of features on or off; whether it has any."""
    # Of a whole network with hooks in it, timm's wrapper would checkpoint all modules but the first: none.
    net = model.get_submodule(_whole(model))
    try:
        net.set_grad_checkpointing(enable)  # type: ignore[operator]
    except (AssertionError, AttributeError):
        return False
    return True


def layer_order(model: nn.Module, backbone: str, options: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the place of each parameter's layer, by name, 0 for the stem's; None where timm does not order them.

    `options` are those that the backbone was created with.
    """
    whole = _without_weights(backbone, options)
    if not hasattr(whole, "group_matcher"):
        return None
    places = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    return {name: places[own] for name, own in _names_in(whole, model).items()}


def no_weight_decay(model: nn.Module, backbone: str, options: Mapping[str, Any]) -> set[str]:
    """Return the parameters that timm keeps from weight decay: embeddings of positions and tokens, bias tables."""
    whole = _without_weights(backbone, options)
    spared = set(whole.no_weight_decay()) if hasattr(whole, "no_weight_decay") else set()
    return {name for name, own in _names_in(whole, model).items() if own in spared}


def _without_weights(backbone: str, options: Mapping[str, Any]) -> Any:
    """The whole backbone on the meta device."""
    with torch.device("meta"):
        return timm.create_model(backbone, **options)


def _names_in(whole: nn.Module, model: nn.Module) -> dict[str, str]:
    """The name in the whole backbone of each parameter of timm's network of features."""
    # The wrapper that holds single modules of the backbone joins two levels of names.
    joined = {
        f"{name}_{inner}": f"{name}.{inner}" for name, child in whole.named_children() for inner in child._modules
    }
    prefix = _whole(model)
    names = {}
    for name, _ in model.named_parameters():
        first, dot, rest = name.removeprefix(f"{prefix}.").partition(".")
        names[name] = (first if first in whole._modules else joined.get(first, first)) + dot + rest
    return names


def _whole(model: nn.Module) -> str:
    """Name of the whole backbone inside timm's network of features; empty where the network is made of its modules."""
    if isinstance(model, FeatureGetterNet):
        return "model"
    return "body" if isinstance(model, FeatureHookNet) and "body" in model else ""
