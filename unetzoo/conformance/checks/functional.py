"""The network as a pure function of its parameters: `torch.func` and everything that swaps tensors from outside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context, tensors_in
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree
from unetzoo.conformance.measuring.tracing import blame, listing


@check(requires=EVAL)
def check_functional_call(ctx: Context) -> Measurement:
    """`torch.func.functional_call` with other parameters matches copying them into the network.

    An alias taken in `__init__` keeps the old tensor: exponential moving averages, meta-learning, `torch.func`
    and `load_state_dict(assign=True)` then silently run the old weights.
    """
    # In float32 as built: a cast would cut a buffer's aliases, and hide them here.
    model, other = ctx.eval_model(dtype=torch.float32), ctx.eval_model(dtype=torch.float32, seed=1)
    x = ctx.input(dtype=torch.float32)
    new = dict(other.named_parameters()) | dict(other.named_buffers())
    with torch.no_grad():
        called = _called(model, new, x)
        try:
            return agree(called, _copied(ctx, model, new, x), 1e-6, "the output of functional_call with other tensors")
        except CheckFailed as failure:
            alone = {n: (_called(model, {n: t}, x), _copied(ctx, model, {n: t}, x)) for n, t in new.items()}
            stale = [n for n, (a, b) in alone.items() if not torch.allclose(a, b, rtol=1e-6, atol=1e-6)]
            raise CheckFailed(
                f"{failure}. Not reached by functional_call: {listing(stale) or 'no single tensor'}. Forward uses an "
                "alias of these that was taken earlier; look a parameter up on its module when it is used",
                failure.measured,
                failure.bound,
            ) from failure


def _called(model: nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    with blame("functional_call"):
        return tensors_in(torch.func.functional_call(model, tensors, (x,)))[0]


def _copied(ctx: Context, model: nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """The output with the tensors copied into the network, which is then put back."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    kept = {n: own[n].clone() for n in tensors}
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
    output = ctx.output(model, x).clone()
    for name, tensor in kept.items():
        own[name].copy_(tensor)
    return output
