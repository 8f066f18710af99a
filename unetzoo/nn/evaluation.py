"""A network for inference: in evaluation mode, with tensors of its device and type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def empty_like_parameters(network: nn.Module) -> Tensor:
    """An empty tensor of the device and type of the network's parameters."""
    for parameter in network.parameters():
        return parameter.new_empty(0)
    return torch.empty(0)
