"""What timm knows of the layers of its backbones: how to compute them again, and their order."""

from __future__ import annotations

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


def layer_order(model: nn.Module, backbone: str) -> dict[str, int] | None:
    """Return the place of each parameter's layer, by name, 0 for the stem's; None where timm does not order them."""
    with torch.device("meta"):
        whole: Any = timm.create_model(backbone)
    if not hasattr(whole, "group_matcher"):
        return None
    places = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    # The wrapper that holds single modules of the backbone joins two levels of names.
    joined = {
        f"{name}_{inner}": f"{name}.{inner}" for name, child in whole.named_children() for inner in child._modules
    }
    prefix = _whole(model)
    order = {}
    for name, _ in model.named_parameters():
        first, dot, rest = name.removeprefix(f"{prefix}.").partition(".")
        own = first if first in whole._modules else joined.get(first, first)
        order[name] = places[own + dot + rest]
    return order


def _whole(model: nn.Module) -> str:
    """Name of the whole backbone inside timm's network of features; empty where the network is made of its modules."""
    if isinstance(model, FeatureGetterNet):
        return "model"
    return "body" if isinstance(model, FeatureHookNet) and "body" in model else ""
