"""A network for inference: in evaluation mode, with tensors of its device and type."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_changing = threading.Lock()
_held: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()  # users of each module, and its own mode


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards every module is in the mode it was in.

    Of several threads with one network, the last to end puts it back.
    """
    modules = list(network.modules())
    with _changing:
        for module in modules:
            users, training = _held.get(module, (0, module.training))
            _held[module] = users + 1, training
        network.eval()
    try:
        yield
    finally:
        with _changing:
            for module in modules:
                users, training = _held.pop(module)
                if users > 1:
                    _held[module] = users - 1, training
                else:
                    module.training = training


def empty_like_parameters(network: nn.Module) -> Tensor:
    """An empty tensor of the device and type of the network's parameters."""
    for parameter in network.parameters():
        return parameter.new_empty(0)
    return torch.empty(0)
