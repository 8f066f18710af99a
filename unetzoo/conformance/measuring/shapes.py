"""What the checks of sizes share: the expected shape, sizes off the rule, and an honest refusal."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import expect

REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, IndexError)
"""What a network may raise to refuse an input."""


def expect_shape(ctx: Context, out: Tensor, batch: int, size: Axes, when: str = "", classes: int | None = None) -> None:
    """Fail unless the logits are (batch, classes, *output size) for an input of this size."""
    wanted = [batch, ctx.num_classes if classes is None else classes, *ctx.capabilities.output_size(size)]
    got = list(out.shape)
    hint = ""
    if got[2:] == wanted[:1:-1] and got[:2] == wanted[:2]:
        hint = ": the spatial axes are swapped"
    elif len(got) == len(wanted) and got[1:] == [*wanted[2:], wanted[1]]:
        hint = ": channels are last"
    expect(got == wanted, f"{when}an input of {[batch, ctx.in_channels, *size]} gave {got}, expected {wanted}{hint}")


def illegal_sizes(ctx: Context) -> Iterator[Axes]:
    """Sizes off the divisor by one pixel, on each axis that has one."""
    for axis, divisor in enumerate(ctx.capabilities.divisor):
        if divisor > 1:
            yield tuple(s + (a == axis) for a, s in enumerate(ctx.size))


def expect_honest_size(ctx: Context, model: nn.Module, size: Axes) -> bool:
    """Whether the size is answered; if it is not it must be refused, not answered with an output of another size."""
    try:
        out = ctx.output(model, ctx.input(size=size, dtype=torch.float32))
    except REFUSALS:
        return False
    expect(
        tuple(out.shape[2:]) == size,
        f"an input of {list(size)} gave an output of {list(out.shape[2:])}, expected {list(size)}: resize "
        "features to the "
        f"skip's size, pad, or refuse the size (works from {list(ctx.capabilities.min_size)} at multiples of "
        f"{list(ctx.capabilities.divisor)}; declare `divisor` or `min_size` if it is meant to be so)",
    )
    return True
