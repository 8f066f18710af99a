"""The network as a pure function of its parameters: `torch.func` and everything that swaps tensors from outside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.conformance.check import EVAL, GATES, CheckFailed, Measurement, agree, check, worst
from unetzoo.conformance.context import Context, tensors_in
from unetzoo.conformance.tracing import blame, listing


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


@check(requires=GATES, level="advice")
def check_vmap_jvp(ctx: Context) -> Measurement | None:
    """`torch.func.vmap` over samples matches the batch, and forward- and reverse-mode derivatives agree.

    Ensembles, per-sample gradients and Hessian-vector products are built on these.
    """
    ctx.require("functorch" in ctx.capabilities.supports, "does not declare functorch")
    model = ctx.eval_model()
    x, tangent = ctx.input(), ctx.input(seed=1)

    def function(x: Tensor) -> Tensor:
        return ctx.output(model, x)

    with blame("torch.func.vmap over the samples"):
        mapped = torch.func.vmap(lambda sample: function(sample[None])[0], randomness="error")(x)
    found = [agree(mapped, function(x), 1e-9, "vmap over the samples against the batch")]
    with blame("torch.func.jvp"):
        out, pushed = torch.func.jvp(function, (x,), (tangent,))  # type: ignore[misc]
    with blame("torch.func.vjp"):
        _, pull = torch.func.vjp(function, x)  # type: ignore[misc]
        cotangent = torch.randn(out.shape, generator=ctx.generator(2), dtype=out.dtype).to(out.device)
        (pulled,) = pull(cotangent)
    found.append(
        agree(
            (pulled * tangent).sum().detach(),
            (pushed * cotangent).sum().detach(),
            1e-9,
            "<vjp(c), t> against <c, jvp(t)>",
        )
    )
    return worst(found)
