"""Memory layout: any strides of the input give the same result, and channels-last stays where it is declared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import GATES, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, agree, worst
from unetzoo.conformance.measuring.rounding import own_error
from unetzoo.conformance.measuring.stochastic import repeats, without_dropout
from unetzoo.conformance.measuring.tracing import blame

_Run = tuple[list[Tensor], dict[str, Tensor]]
_HINT = "Use reshape or flatten instead of view, and nothing that counts on the order of memory"


def _channels_last(ctx: Context) -> torch.memory_format:
    ctx.require(
        ctx.capabilities.ndim in (2, 3), f"channels-last is defined in 2-D and 3-D, not {ctx.capabilities.ndim}-D"
    )
    return torch.channels_last if ctx.capabilities.ndim == 2 else torch.channels_last_3d


@check(requires=GATES, devices="both")
def check_channels_last(ctx: Context) -> Measurement | None:
    """Channels-last, transposed, strided and expanded inputs, and a channels-last network, match contiguous ones.

    `view` refuses such tensors, and code that reads memory in the order of NCHW gives wrong numbers. In float64 for
    the values, and in float32, where the CPU keeps a 3-D layout that float64 drops; outputs and gradients are compared.
    Another layout sums in another order: in float32 it may be ten times as far from float64 as the contiguous run is.
    """
    memory_format = _channels_last(ctx)
    found = []
    for dtype in (torch.float32, torch.float64):
        x = ctx.input(dtype=dtype)
        last = x.contiguous(memory_format=memory_format)
        plain, converted = (ctx.eval_model(dtype=dtype) for _ in range(2))
        converted.to(memory_format=memory_format)
        expected = _run(ctx, plain, x, "a contiguous input")
        tolerance = 1e-9 if dtype == torch.float64 else max(1e-4, 10 * own_error(ctx, x, expected[0]))
        runs = {"a channels-last input": (plain, last), "a channels-last network": (converted, last)}
        if dtype == torch.float64:
            wide = torch.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=dtype, device=x.device)
            wide[..., ::2] = x
            runs["a transposed input"] = (plain, x.transpose(-1, -2).contiguous().transpose(-1, -2))
            runs["a strided slice of a wider tensor"] = (plain, wide[..., ::2])
        for case, (model, strided) in runs.items():
            case = f"{case} of {str(dtype).removeprefix('torch.')}"
            found += _agree(_run(ctx, model, strided, case), expected, case, tolerance)
    one = x[:1]
    repeated = _run(ctx, plain, one.repeat(2, *[1] * (x.dim() - 1)), "a repeated input")
    found += _agree(_run(ctx, plain, one.expand_as(x), "an expanded batch"), repeated, "an expanded batch", 1e-9)
    return worst([*found, *_in_training(ctx, memory_format)])


def _in_training(ctx: Context, memory_format: torch.memory_format) -> list[Measurement]:
    x = ctx.input()
    last = x.contiguous(memory_format=memory_format)
    plain, converted = (without_dropout(ctx.eval_model().train()) for _ in range(2))
    converted.to(memory_format=memory_format)
    if not repeats(ctx, plain, x):
        return []  # random masks are laid out as the memory is, and do not compare
    expected = _run(ctx, plain, x, "a contiguous input in training mode")
    found = []
    for case, model in {"a channels-last input": plain, "a channels-last network": converted}.items():
        case = f"{case} in training mode"
        found += _agree(_run(ctx, model, last, case), expected, case, 1e-9)
    return found


def _run(ctx: Context, model: nn.Module, x: Tensor, case: str) -> _Run:
    """Outputs and the gradients of the parameters."""
    model.zero_grad(set_to_none=True)
    with blame(f"a forward and backward with {case}", _HINT):
        outputs = ctx.outputs(model, x)
        ctx.loss(outputs).backward()
    return [out.detach() for out in outputs], {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _agree(actual: _Run, expected: _Run, case: str, tolerance: float) -> list[Measurement]:
    (outputs, grads), (references, reference_grads) = actual, expected
    pairs = [(f"the output for {case}", a, b) for a, b in zip(outputs, references, strict=True)]
    # In float32 a gradient sums many terms in another order: the float64 runs judge it.
    if references[0].dtype == torch.float64:
        pairs += [(f"the gradient of {n!r} for {case}", grads[n], g) for n, g in reference_grads.items()]
    return [agree(a, b, tolerance, what, _HINT) for what, a, b in pairs]
