"""Which parameters of a network its output depends on."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call


def unused_parameters(model: nn.Module, x: torch.Tensor) -> list[str]:
    """Return the names of the parameters that get no gradient from the outputs for `x`, a tensor on the meta device.

    The model stays as it is: it runs on stand-ins without values.
    """
    stand_ins = {name: torch.empty_like(value, device="meta") for name, value in model.named_buffers()}
    parameters = {
        name: torch.empty_like(value, device="meta", requires_grad=True) for name, value in model.named_parameters()
    }
    with torch.enable_grad():
        outputs = functional_call(model, {**parameters, **stand_ins}, (x,))
        total = sum(output.sum() for output in (outputs if isinstance(outputs, list) else [outputs]))
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return [name for name, gradient in zip(parameters, found, strict=True) if gradient is None]
