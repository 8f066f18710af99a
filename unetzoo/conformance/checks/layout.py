"""Memory layout: any strides of the input give the same result, and channels-last stays where it is claimed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unetzoo.conformance.check import BACKWARD, FORWARD, Measurement, agree, check, expect, worst
from unetzoo.conformance.context import Context
from unetzoo.conformance.tracing import blame, listing


def _channels_last(ctx: Context) -> torch.memory_format:
    ctx.require(ctx.claims.ndim in (2, 3), f"channels-last is defined in 2-D and 3-D, not {ctx.claims.ndim}-D")
    return torch.channels_last if ctx.claims.ndim == 2 else torch.channels_last_3d


@check(requires=BACKWARD, devices="both")
def check_channels_last(ctx: Context) -> Measurement | None:
    """Channels-last, transposed, strided and expanded inputs, and a channels-last network, give the same as contiguous.

    ``view`` refuses such tensors, and code that reads memory in the order of NCHW gives wrong numbers. In float64 for
    the values, and in float32, where the CPU keeps a 3-D layout that float64 drops; outputs and gradients are compared.
    """
    memory_format = _channels_last(ctx)
    x = ctx.input()
    wide = torch.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype, device=x.device)
    wide[..., ::2] = x
    last = x.contiguous(memory_format=memory_format)
    single = x.float().contiguous(memory_format=memory_format)
    repeated = x[:1].repeat(2, *[1] * (x.dim() - 1))
    cases = [
        _Case("a channels-last input", x, last),
        _Case("a channels-last input in training mode", x, last, training=True),
        _Case("a transposed input", x, x.transpose(-1, -2).contiguous().transpose(-1, -2)),
        _Case("a strided slice of a wider tensor", x, wide[..., ::2]),
        _Case("an expanded batch", repeated, x[:1].expand_as(x)),
        _Case("a channels-last network", x, last, convert=memory_format),
        _Case("a channels-last network in training mode", x, last, convert=memory_format, training=True),
        _Case("a float32 channels-last input", x.float(), single, tolerance=1e-4),
        _Case("a float32 channels-last network", x.float(), single, convert=memory_format, tolerance=1e-4),
    ]
    if ctx.claims.stochastic_train:  # the pattern of a dropped pixel follows the order of memory
        cases = [case for case in cases if not case.training]
    return worst(m for case in cases for m in _compare(ctx, case))


@dataclass(frozen=True)
class _Case:
    """An input in another layout, the same one contiguous, and how to run them."""

    name: str
    contiguous: Tensor
    strided: Tensor
    convert: torch.memory_format | None = None
    training: bool = False
    tolerance: float = 1e-9


def _compare(ctx: Context, case: _Case) -> list[Measurement]:
    hint = "Use reshape or flatten instead of view, and nothing that counts on the order of memory"
    results = []
    for x, memory_format in ((case.contiguous, None), (case.strided, case.convert)):
        model = ctx.eval_model(dtype=x.dtype).train(case.training)
        if memory_format is not None:
            model.to(memory_format=memory_format)
        torch.manual_seed(ctx.seed)
        with blame(f"a forward and backward with {case.name}", hint):
            outputs = ctx.outputs(model, x)
            ctx.loss(outputs).backward()
        results.append((outputs, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (outputs, grads), (others, other_grads) = results
    pairs = {f"the output for {case.name}": (b.detach(), a.detach()) for a, b in zip(outputs, others, strict=True)}
    # In float32 a gradient sums many terms in another order: the float64 cases judge it.
    if case.contiguous.dtype == torch.float64:
        pairs |= {f"the gradient of {n!r} for {case.name}": (other_grads[n], g) for n, g in grads.items()}
    return [agree(actual, expected, case.tolerance, what, hint) for what, (actual, expected) in pairs.items()]


@check(requires=FORWARD, devices="both", level="advice")
@torch.no_grad()
def check_memory_format_kept(ctx: Context) -> Measurement:
    """The channels-last layout survives to the input of every layer, where that is claimed.

    A layer that makes it contiguous again costs a copy there and back, and the speed that the layout was chosen for.
    """
    ctx.require(ctx.claims.keeps_channels_last, "does not claim keeps_channels_last")
    memory_format = _channels_last(ctx)
    model = ctx.eval_model(dtype=torch.float32).to(memory_format=memory_format)
    lost: list[str] = []
    seen: list[str] = []

    def look(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, args: tuple[object, ...]) -> None:
            for t in args:
                # A map with one channel or one pixel has both layouts at once and says nothing.
                if isinstance(t, Tensor) and t.dim() == ctx.claims.ndim + 2 and t.shape[1] > 1 and t[0, 0].numel() > 1:
                    seen.append(name)
                    if not t.is_contiguous(memory_format=memory_format):
                        lost.append(f"{name} ({type(module).__name__}, {list(t.shape)})")

        handles.append(module.register_forward_pre_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in model.named_modules():
        if not any(True for _ in module.children()):
            look(name, module)
    ctx.outputs(model, ctx.input(dtype=torch.float32).contiguous(memory_format=memory_format))
    for handle in handles:
        handle.remove()
    expect(bool(seen), "no layer with a feature map as input was met: nothing was measured")
    expect(
        not lost,
        f"channels-last is lost before {len(lost)} of {len(seen)} layer calls, first before {listing(lost, 3)}. The "
        "operation in front of it changes the layout: contiguous(), a reshape, or a kernel that lacks channels-last",
        len(lost),
        0,
    )
    return Measurement(len(lost), 0)
