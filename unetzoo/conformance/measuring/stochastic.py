"""Takes chance out of training mode, so that two training forwards compare."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.measuring.sandbox import GlobalState


def without_dropout(model: nn.Module) -> nn.Module:
    """The model with its dropout and stochastic depth in eval mode; they are known by their class's name."""
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            module.eval()
    return model


@torch.no_grad()
def repeats(ctx: Context, model: nn.Module, x: Tensor) -> bool:
    """Whether two forwards give the same and draw no random number: no chance is left in this mode."""
    before = GlobalState.capture()
    pairs = zip(ctx.outputs(model, x), ctx.outputs(model, x), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and not before.rng_changes()
