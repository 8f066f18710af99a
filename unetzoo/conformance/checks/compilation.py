"""`torch.compile`: one graph, compiled once, for every size, with the same results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.check import GATES, check
from unetzoo.conformance.definition.context import Context, tensors_in
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, worst
from unetzoo.conformance.measuring.tracing import blame, brief


@contextmanager
def _fresh_compiler() -> Iterator[None]:
    """No compiled code from before, and none left behind."""
    torch._dynamo.reset()
    logging.disable(logging.CRITICAL)  # torch logs what it also raises; the runner puts this back
    try:
        yield
    finally:
        torch._dynamo.reset()


@check(requires=GATES, devices="both", level="should", cost="slow")
def check_compile_fullgraph(ctx: Context) -> Measurement | None:
    """`torch.compile(fullgraph=True)` captures the network in one graph in both modes, with equal outputs.

    A graph break, at a branch on values, a print or a call that cannot be traced, takes the speed away. The CPU runs
    the captured graph as it is; CUDA compiles it with inductor, once for each size, since that of torch 2.11 fails on
    sound networks of dynamic sizes.
    """
    on_cpu = ctx.device.type == "cpu"
    backend, tolerance, dynamic = ("eager", 1e-4, None) if on_cpu else ("inductor", 1e-3, False)
    hint = "Branch on shapes and settings, not on values, and keep printing, numpy and .item() out of forward"
    found = []
    for training in (False, True):
        model = ctx.eval_model(dtype=torch.float32).train(training)
        mode = "training" if training else "eval"
        state = {n: t.clone() for n, t in model.state_dict().items()}
        with _fresh_compiler(), torch.set_grad_enabled(training):
            compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=dynamic)
            for seed, size in ((0, ctx.size), (1, ctx.size), (2, ctx.odd_size())):
                x = ctx.input(size=size, dtype=torch.float32, seed=seed)
                where = f"in {mode} mode at size {list(size)}"
                with blame(f"torch.compile(fullgraph=True, backend={backend!r}) {where}", hint):
                    torch.manual_seed(seed)
                    outputs = tensors_in(compiled(x))
                if training and ctx.capabilities.stochastic_train:
                    continue
                model.load_state_dict(state)
                torch.manual_seed(seed)
                what = f"the compiled {mode} output for input {seed} against eager"
                found += [agree(a, b, tolerance, what) for a, b in zip(outputs, ctx.outputs(model, x), strict=True)]
                model.load_state_dict(state)
    return worst(found)


@check(requires=GATES, level="should", cost="slow")
def check_no_recompile(ctx: Context) -> None:
    """A compiled network compiles once for the first size and once more for all other sizes.

    A counter in Python, a cache by shape, or a size that becomes a plain number makes every call compile again.
    """
    for training in (False, True):
        model = ctx.train_model(dtype=torch.float32).train(training)
        mode = "training" if training else "eval"
        with _fresh_compiler(), torch.set_grad_enabled(training):
            compiled = torch.compile(model, backend="eager")
            compiled(ctx.input(dtype=torch.float32, seed=0))
            with _refusing_recompilation(f"for a later input of the same shape, in {mode} mode"):
                compiled(ctx.input(dtype=torch.float32, seed=1))
                compiled(ctx.input(dtype=torch.float32, seed=2))
    if (
        ctx.capabilities.fixed_size is not None or ctx.capabilities.ndim == 1
    ):  # torch itself fixes the size of a 1-D max pooling
        return
    model = ctx.eval_model(dtype=torch.float32)
    sizes = _growing(ctx)
    with _fresh_compiler(), torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        for size in sizes[:2]:
            _run_dynamic(ctx, compiled, size)
        for size in sizes[2:]:
            with _refusing_recompilation(
                f"for size {size} after {sizes[0]} and {sizes[1]}, with the axes marked dynamic"
            ):
                _run_dynamic(ctx, compiled, size)


@contextmanager
def _refusing_recompilation(when: str) -> Iterator[None]:
    hint = "Keep no counter or cache that forward changes, and make no int() or list of a size"
    with torch._dynamo.config.patch(error_on_recompile=True):
        try:
            yield
        except torch._dynamo.exc.RecompileError as error:
            raise CheckFailed(f"torch.compile compiled again {when}: {brief(error, 600)}. {hint}") from error


def _run_dynamic(ctx: Context, compiled: Callable[[Tensor], object], size: Axes) -> None:
    x: Tensor = ctx.input(size=size, dtype=torch.float32)
    for axis in range(2, x.dim()):
        torch._dynamo.maybe_mark_dynamic(x, axis)
    compiled(x)


def _growing(ctx: Context) -> list[Axes]:
    """Four legal sizes; all are multiples of the coarsest stride, so that the branches for odd maps go one way."""
    step = [math.lcm(d, ctx.capabilities.coarsest_stride) for d in ctx.capabilities.divisor]
    blocks = [-(-s // d) for s, d in zip(ctx.size, step, strict=True)]
    sizes = [tuple(d * (b + k * (1 + i)) for i, (b, d) in enumerate(zip(blocks, step, strict=True))) for k in range(4)]
    return [ctx.capabilities.legal(size) for size in sizes]
