"""Purity: determinism, random generators, state, history, batch, threads."""

from __future__ import annotations

import copy
import itertools
import sys
import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from unetzoo.analysis.operations import ModuleTrace, Operations
from unetzoo.conformance.definition.check import EVAL, MODES, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect, worst
from unetzoo.conformance.measuring.failure import describe
from unetzoo.conformance.measuring.sandbox import GlobalState, seed_generators
from unetzoo.conformance.measuring.shapes import REFUSALS
from unetzoo.conformance.measuring.tracing import listing

MOST_INTERRUPTS = 16


@check(requires=MODES, devices="both", core=True)
def check_eval_deterministic(ctx: Context) -> Measurement | None:
    """Two eval forwards on the same input are bitwise equal, on a large image too."""
    if ctx.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    cases = [(torch.float32, ctx.size), (torch.float64, ctx.size), *((torch.float32, s) for s in ctx.long_sizes()[:1])]
    for dtype, size in cases:
        model = ctx.eval_model(dtype=dtype)
        x = ctx.input(size=size, dtype=dtype)
        with torch.no_grad():
            first, second = ctx.output(model, x), ctx.output(model, x)
        hint = "" if torch.equal(first, second) else _noise(model, x)
        figure = agree(second, first, 0.0, f"the second of two eval forwards at size {list(size)}", hint)
    return figure


@torch.no_grad()
def _noise(model: nn.Module, x: Tensor) -> str:
    """The likely cause of noise in eval mode: where random numbers of torch are drawn."""
    drawn: list[str] = []
    with ModuleTrace(model) as trace:

        def look(operation: object, _: object, __: object) -> None:
            if torch.Tag.nondeterministic_seeded in getattr(operation, "tags", ()):
                drawn.append(f"{operation} in {trace.where}")

        with Operations(look):
            model(x)
    places = f". Random numbers are drawn by {listing(list(dict.fromkeys(drawn)))}" if drawn else ""
    return f"Dropout without `training=self.training`, or noise?{places}"


@check(requires=EVAL, devices="both", core=True)
def check_eval_rng_pure(ctx: Context) -> None:
    """An eval forward draws no random number."""
    model = ctx.eval_model(dtype=torch.float32)
    for batch, size in [(2, ctx.size), (1, ctx.size), (2, ctx.odd_size()), *((2, s) for s in ctx.long_sizes()[:1])]:
        x = ctx.input(batch, size, dtype=torch.float32)
        before = GlobalState.capture()
        with torch.no_grad():
            ctx.output(model, x)
        moved = ", ".join(before.rng_changes())
        expect(
            not moved,
            f"an eval forward of {batch} images, {list(size)}, moved the random generator of {moved}; draw in training",
        )


@check(devices="both")
def check_rng_not_reseeded(ctx: Context) -> None:
    """A forward never seeds a global random generator."""
    x = ctx.input(dtype=torch.float32)
    for train in (True, False):
        ends = []
        for seed in (1, 2):
            model = ctx.train_model(dtype=torch.float32).train(train)  # a new one: it may seed by a count of its calls
            seed_generators(seed)
            ctx.outputs(model, x)
            ends.append(GlobalState.capture())
        same = ends[0].same_generators(ends[1])
        mode = "training" if train else "eval"
        expect(
            not same,
            f"after a {mode} forward {', '.join(same)} is in the same state whatever it was before: the forward "
            "seeds it",
        )


@check(requires=MODES, core=True)
def check_eval_stateless(ctx: Context) -> Measurement | None:
    """Eval forwards have no side effects: the first input gives the same again; parameters and buffers stay."""
    model = ctx.eval_model()
    a = ctx.input(seed=1)
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        first = ctx.output(model, a)
        for seed in (2, 3):
            ctx.output(model, 3 * ctx.input(seed=seed) + 1)
        again = ctx.output(model, a)
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            agree(value, state[name], 0.0, f"{name} after eval forwards", "Update state in training mode alone")
    return agree(again, first, 0.0, "the output for the first input, after other inputs,", "Something is remembered")


@check(requires=EVAL, devices="both", core=True)
def check_history_independence(ctx: Context) -> Measurement | None:
    """The result does not depend on the size, dtype or mode of earlier calls."""
    x = ctx.input()
    with torch.no_grad():
        expected = ctx.output(ctx.eval_model(warm=False), x)
    figures = []
    for other in [*[size for size in ctx.sizes() if size != ctx.size][:3], *ctx.long_sizes()[:1]]:
        model = ctx.eval_model(warm=False)
        with torch.no_grad():
            ctx.output(model, ctx.input(1, other))
            out = ctx.output(model, x)
        what = f"the output after an earlier call at size {list(other)}"
        figures.append(agree(out, expected, 1e-12, what, "A mask or grid of the first call is kept"))
    model = ctx.eval_model(dtype=torch.float32, warm=False)
    with torch.no_grad():
        ctx.output(model, x.float())
        out = ctx.output(model.double(), x)
    reference = ctx.eval_model(dtype=torch.float32, warm=False).double()
    with torch.no_grad():
        same_weights = ctx.output(reference, x)
    figures.append(agree(out, same_weights, 1e-12, "the float64 output after a float32 call", "A cast tensor is kept"))
    model = ctx.eval_model(warm=False)
    with torch.inference_mode():
        ctx.output(model, x)
    figures.append(agree(ctx.output(model, x), expected, 1e-12, "the output after a call in inference mode"))
    model.train()
    try:
        ctx.loss(ctx.outputs(model, x)).backward()
    except RuntimeError as error:
        raise CheckFailed(
            f"a training step after a call in inference mode: {error}. A tensor of that call is kept"
        ) from error
    return worst(figures)


@check(requires=EVAL, devices="both", core=True)
def check_batch_independence(ctx: Context) -> Measurement | None:
    """In eval mode a sample's output depends on that sample alone, in any batch, order and company (NaN included)."""
    model = ctx.eval_model()
    a, b = ctx.input(1, seed=1), ctx.input(1, seed=2)
    tolerance = 1e-9 if ctx.device.type == "cpu" else 1e-8
    hint = "Samples meet: batch statistics in eval mode, attention or a norm over the batch axis, or a mixed-up reshape"
    figures = []
    with torch.no_grad():
        alone = ctx.output(model, a)
        companions = {
            "in a batch of two": torch.cat([a, b]),
            "in a batch of three": torch.cat([a, b, 2 * b]),
            "next to itself": torch.cat([a, a]),
            "next to an outlier": torch.cat([a, 50 * b + 7]),
            "next to NaN": torch.cat([a, torch.full_like(b, torch.nan)]),
        }
        for place, batch in companions.items():
            figures.append(agree(ctx.output(model, batch)[:1], alone, tolerance, f"a sample's output {place}", hint))
        for others in (2, 8):
            last = ctx.output(model, torch.cat([*[(1 + k) * b for k in range(others)], a]))[others:]
            place = f"at the end of a batch of {others + 1}"
            figures.append(agree(last, alone, tolerance, f"a sample's output {place}", hint))
    return worst(figures)


@check(requires=EVAL, core=True)
def check_no_grad_respected(ctx: Context) -> Measurement | None:
    """No graph is built under `no_grad`; the eval output is the same with a graph, without, and in inference mode."""
    model = ctx.eval_model(dtype=torch.float32)
    x = ctx.input(dtype=torch.float32)
    for train in (False, True):
        model.train(train)
        recorded: list[str] = []
        with torch.no_grad(), ModuleTrace(model) as trace, saved_tensors_hooks(_noting(trace, recorded), lambda t: t):
            outputs = ctx.outputs(model, x)
        mode = "training" if train else "eval"
        expect(
            not any(out.requires_grad for out in outputs),
            f"under torch.no_grad() the {mode} output requires grad: the forward enables gradients itself",
        )
        expect(
            not recorded,
            f"under torch.no_grad(), in {mode} mode, a graph is recorded in {listing(list(dict.fromkeys(recorded)))}: "
            "the forward enables gradients there, and keeps what backward would need",
        )
    model = ctx.eval_model()
    x = ctx.input()
    with torch.inference_mode():
        inferred = ctx.output(model, x)
    expect(not inferred.requires_grad, "under torch.inference_mode() the output requires grad")
    with torch.no_grad():
        expected = ctx.output(model, x)
    graphed = ctx.output(model, x)
    expect(
        graphed.requires_grad, "with gradients on, the eval output requires no grad: the forward turns gradients off"
    )
    others = {
        "in inference mode": inferred,
        "with gradients on": graphed,
        "for an input that requires grad": ctx.output(model, x.clone().requires_grad_()),
    }
    hint = "The forward asks whether a graph is wanted"
    return worst(agree(out, expected, 1e-12, f"the eval output {when}", hint) for when, out in others.items())


def _noting(trace: ModuleTrace, names: list[str]) -> Callable[[Tensor], Tensor]:
    """To be called with each tensor that is kept for a backward: notes the module that runs."""

    def note(tensor: Tensor) -> Tensor:
        names.append(trace.where)
        return tensor

    return note


@check(devices="both", core=True)
def check_input_unmodified(ctx: Context) -> None:
    """The input keeps its values, version, requires_grad and grad, in eval and training mode."""
    for train in (False, True):
        for wanted, graph in ((False, False), (False, True), (True, True)):
            _expect_untouched(ctx, ctx.train_model() if train else ctx.eval_model(), ctx.input(), wanted, graph)
    try:
        gray = ctx.eval_model(in_channels=1)
    except REFUSALS:  # reported by check_in_channels
        return
    _expect_untouched(ctx, gray, ctx.input(channels=1), False, False)


def _expect_untouched(ctx: Context, model: nn.Module, x: Tensor, wanted: bool, graph: bool) -> None:
    kept, version = x.clone(), x._version
    x.requires_grad_(wanted)
    with torch.set_grad_enabled(graph):
        outputs = ctx.outputs(model, x)
    mode = f"{'training' if model.training else 'eval'}{'' if graph else ' (no_grad)'}"
    expect(torch.equal(x.detach(), kept), f"a {mode} forward changed its input: an in-place operation on it")
    expect(
        x._version == version,
        f"a {mode} forward wrote to its input (version {version} -> {x._version}): an in-place operation on it",
    )
    expect(
        x.requires_grad == wanted,
        f"a {mode} forward set requires_grad={x.requires_grad} on its input, which came with {wanted}",
    )
    expect(x.grad is None, f"a {mode} forward filled the grad of its input")
    if any(out.requires_grad for out in outputs):
        ctx.loss(outputs).backward()
    expect(torch.equal(x.detach(), kept), "backward changed the input")


@check(requires=EVAL)
def check_reentrancy(ctx: Context) -> Measurement | None:
    """A call in the middle of another, as threads interleave them, does not change the result."""
    model = ctx.eval_model()
    x = ctx.input(1)
    sizes = (ctx.size, ctx.sizes()[0], ctx.sizes()[-1])  # the last is the smallest
    others = [2 * ctx.input(2, size, seed=9) + 1 for size in sizes]
    with torch.no_grad():
        expected = ctx.output(model, x)
        leaves = [(name, m) for name, m in model.named_modules() if name and not list(m.children())]
        figures = []
        for (name, leaf), other in zip(leaves[:: max(1, len(leaves) // MOST_INTERRUPTS)], itertools.cycle(others)):
            busy: list[bool] = []

            def interrupt(*_: object, busy: list[bool] = busy, other: Tensor = other) -> None:
                if not busy:
                    busy.append(True)
                    ctx.output(model, other)

            handle = leaf.register_forward_hook(interrupt)
            hint = "The forward keeps intermediate results on self; pass them as values"
            try:
                out = ctx.output(model, x)
            except Exception as error:
                raise CheckFailed(
                    f"another call right after {name!r} makes the outer one fail: {describe(error)}. {hint}"
                ) from error
            finally:
                handle.remove()
            figures.append(
                agree(out, expected, 1e-12, f"the output, when another call runs right after {name!r},", hint)
            )
    return worst(figures)


@check(requires=EVAL, devices="both", level="should", cost="slow")
def check_thread_safety(ctx: Context) -> Measurement | None:
    """Eight threads that share one network get the results of sequential calls."""
    model = ctx.eval_model()
    inputs = [ctx.input(1, seed=seed) for seed in range(8)]
    with torch.no_grad():
        expected = [ctx.output(model, x) for x in inputs]
    calls = 16 if sum(p.numel() for p in model.parameters()) < 10**6 else 2
    found: list[list[Tensor]] = [[] for _ in inputs]
    errors: list[str] = []

    def serve(index: int) -> None:
        try:
            with torch.no_grad():
                found[index].extend(ctx.output(model, inputs[index]) for _ in range(calls))
        except Exception as error:  # reported from the main thread
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=serve, args=(i,)) for i in range(len(inputs))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads change places within a layer, not after it
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    expect(not errors, f"{len(errors)} of 8 threads that share the network raised, first: {errors[:1]}")
    hint = "The forward keeps intermediate results on self"
    pairs = [(out, expected[i]) for i, outs in enumerate(found) for out in outs]
    return worst(agree(out, ref, 1e-12, "an output computed in parallel", hint) for out, ref in pairs)


@check()
def check_freeze_respected(ctx: Context) -> None:
    """With every parameter frozen, forward, `train()` and `eval()` keep them frozen, and no graph is built."""
    model = ctx.train_model(dtype=torch.float32).requires_grad_(False)
    outputs = ctx.outputs(model, ctx.input(dtype=torch.float32))
    _expect_frozen(model, "a training forward")
    expect(
        not any(out.requires_grad for out in outputs),
        "all parameters are frozen, yet the output requires grad: a tensor outside parameters() is trained",
    )
    for call, switch in {"eval()": model.eval, "train()": model.train}.items():
        switch()
        _expect_frozen(model, call)


def _expect_frozen(model: nn.Module, what: str) -> None:
    thawed = [name for name, p in model.named_parameters() if p.requires_grad]
    expect(not thawed, f"{what} set requires_grad=True on {thawed[:4]}, which had been frozen")
