"""Memory: training and inference leave nothing behind, and need as much as is declared."""

from __future__ import annotations

import gc
from collections import deque
from itertools import pairwise

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, expect
from unetzoo.conformance.measuring.tracing import attributes, listing


@check(requires=BACKWARD, devices="both")
def check_memory_leak(ctx: Context) -> Measurement:
    """Training steps and eval forwards leave nothing in memory: no tensor, no graph, no growing list.

    A list of features or losses that is only appended to ends a long run out of memory.
    """
    model, x, rounds = ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32), 6

    def run(times: int) -> list[int]:
        allocated = []
        for _ in range(times):
            model.train()
            ctx.loss(ctx.outputs(model, x)).backward()
            model.zero_grad(set_to_none=True)
            model.eval()
            with torch.no_grad():
                ctx.outputs(model, x)
            if ctx.device.type == "cuda":
                allocated.append(torch.cuda.memory_allocated(ctx.device))
        return allocated

    run(2)
    existing, lengths = _live_tensors(), _lengths(model)
    nodes = _graph_size(existing)
    allocated = run(rounds)
    known = {id(t) for t in existing}
    alive = _live_tensors()
    leaked = [t for t in alive if id(t) not in known]
    grown = [
        f"{path} ({lengths[path]} -> {n})" for path, n in _lengths(model).items() if n >= lengths.get(path, n) + rounds
    ]
    owners = {id(value): path for path, value in attributes(model)}
    held = sorted({owners[id(t)] for t in leaked if id(t) in owners})
    elsewhere = "nothing on the network; look for a global, a cache or a closure"
    where = f"Growing: {listing(grown) or listing(held) or elsewhere}"
    shapes = sorted({str(list(t.shape)) for t in leaked})
    expect(
        len(leaked) < rounds,
        f"{len(leaked)} tensors that were made in {rounds} rounds of training and eval are still alive, of shapes "
        f"{listing(shapes)}. {where}",
        len(leaked),
        rounds - 1,
    )
    expect(not grown, f"containers grow with every forward. {where}", len(grown), 0)
    growth = _graph_size(alive) - nodes
    expect(
        growth < rounds,
        f"the autograd graph that live tensors hold grew by {growth} nodes in {rounds} rounds. "
        f"Held by: {listing([p for p, v in attributes(model) if isinstance(v, Tensor) and v.grad_fn is not None])}. "
        "Detach what is accumulated over steps",
        growth,
        rounds - 1,
    )
    rising = len(allocated) > 1 and all(b > a for a, b in pairwise(allocated))
    expect(not rising, f"CUDA memory grows with every round: {allocated} bytes. {where}")
    return Measurement(len(leaked), rounds - 1)


def _live_tensors() -> list[Tensor]:
    gc.collect()
    return [o for o in gc.get_objects() if issubclass(type(o), Tensor)]


def _graph_size(tensors: list[Tensor]) -> int:
    """Number of autograd nodes that these tensors keep alive."""
    seen = {t.grad_fn for t in tensors if t.grad_fn is not None}
    queue = list(seen)
    while queue:
        for node, _ in queue.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                queue.append(node)
    return len(seen)


def _lengths(model: nn.Module) -> dict[str, int]:
    return {path: len(value) for path, value in attributes(model) if isinstance(value, (list, dict, set, deque))}


@check(requires=BACKWARD)
def check_hook_growth(ctx: Context) -> None:
    """The number of hooks is constant over training steps and eval forwards.

    A hook that is registered in forward runs once more with every step.
    """
    model = ctx.train_model(dtype=torch.float32)
    counts = []
    for step in range(4):
        model.train()
        ctx.loss(ctx.outputs(model, ctx.input(dtype=torch.float32, seed=step))).backward()
        model.eval()
        with torch.no_grad():
            ctx.outputs(model, ctx.input(dtype=torch.float32, seed=step))
        counts.append(_hooks(model))
    grown = [f"{n} ({counts[1].get(n, 0)} -> {k})" for n, k in counts[-1].items() if k >= counts[1].get(n, 0) + 2]
    expect(
        not grown,
        f"hooks multiply, over 2 training steps and 2 eval forwards: {listing(grown)}. Register a hook once, in "
        "__init__, or remove it in the same forward",
        len(grown),
        0,
    )


def _hooks(model: nn.Module) -> dict[str, int]:
    """Number of hooks of every kind, by owner."""
    owners: dict[str, object] = {"all modules (global)": nn.modules.module}
    owners |= {f"module {n or 'model'}": m for n, m in model.named_modules()}
    owners |= {f"parameter {n}": p for n, p in model.named_parameters()}
    counts = {}
    for owner, holder in owners.items():
        for kind in [k for k in dir(holder) if k.endswith("_hooks")] if "parameter" not in owner else _TENSOR_HOOKS:
            hooks = getattr(holder, kind, None)
            if hooks is not None and hasattr(hooks, "__len__"):
                counts[f"{kind} of {owner}"] = len(hooks)
    return counts


_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
