"""What fewer bits do to a network's outputs: measured, since a sensitive network is not a wrong one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import disagreement

BFLOAT16 = 2.0**-9
TF32 = 2.0**-12


@torch.no_grad()
def rounding_effects(
    ctx: Context, model: nn.Module, x: Tensor, reference: Sequence[Tensor], unit: float
) -> list[float]:
    """How far each float32 output moves from `reference`, relative to max(1, max|reference|).

    The input and every weight move by a relative `unit`, up or down at random, three times over. `BFLOAT16` and
    `TF32` are half a unit in the last place of numbers so rounded: the least that such precision does to them.
    """
    effects = [0.0] * len(reference)
    for seed in range(3):
        shaken = copy.deepcopy(model)
        generator = ctx.generator(90 + seed)
        for parameter in shaken.parameters():
            parameter.copy_(_moved(parameter, unit, generator))
        for i, (out, ref) in enumerate(zip(ctx.outputs(shaken, _moved(x, unit, generator)), reference, strict=True)):
            effects[i] = max(effects[i], disagreement(out, ref))
    return effects


@torch.no_grad()
def own_error(ctx: Context, x: Tensor, outputs: Sequence[Tensor]) -> float:
    """How far the float32 outputs of `ctx.eval_model` for `x` are from those of the same weights in float64.

    Another device or memory layout sums in another order, and may be a few times as far off.
    """
    exact = ctx.outputs(ctx.eval_model(dtype=torch.float32).to(x.device, torch.float64), x.double())
    return max(disagreement(out, ref) for out, ref in zip(outputs, exact, strict=True))


def _moved(t: Tensor, unit: float, generator: torch.Generator) -> Tensor:
    """The tensor, each number off by a relative `unit` up or down."""
    return t * (1 + unit * torch.randn(t.shape, generator=generator).sign().to(t))
