"""Purity in eval mode: determinism, random generators, state, history, batch, threads."""

from __future__ import annotations

import copy
import threading

import torch
from torch import Tensor, nn

from unetzoo.conformance.check import CheckFailed, Measurement, agree, check, expect, worst
from unetzoo.conformance.context import Context, warm_statistics
from unetzoo.conformance.failure import describe
from unetzoo.conformance.sandbox import GlobalState

MOST_INTERRUPTS = 16


@check(devices="both")
def check_eval_deterministic(ctx: Context) -> Measurement | None:
    """Two eval forwards of one input are bitwise equal."""
    if ctx.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    for dtype in (torch.float32, torch.float64):
        model = ctx.eval_model(dtype=dtype)
        x = ctx.input(dtype=dtype)
        with torch.no_grad():
            first, second = ctx.output(model, x), ctx.output(model, x)
        figure = agree(
            second, first, 0.0, "the second of two eval forwards", "Dropout without `training=self.training`, or noise?"
        )
    return figure


@check(devices="both")
def check_eval_rng_pure(ctx: Context) -> None:
    """An eval forward draws no random number."""
    model = ctx.eval_model(dtype=torch.float32)
    x = ctx.input(dtype=torch.float32)
    before = GlobalState.capture()
    with torch.no_grad():
        ctx.output(model, x)
    moved = before.rng_changes()
    expect(not moved, f"an eval forward moved the random generator of {', '.join(moved)}: draw in training mode alone")


@check(devices="both")
def check_rng_not_reseeded(ctx: Context) -> None:
    """A forward never seeds a global random generator: its state afterwards depends on the state before."""
    model = ctx.train_model(dtype=torch.float32)
    x = ctx.input(dtype=torch.float32)
    for train in (True, False):
        model.train(train)
        ends = []
        for seed in (1, 2):
            _seed_everything(seed)
            ctx.outputs(model, x)
            ends.append(GlobalState.capture())
        same = _equal_generators(*ends)
        mode = "training" if train else "eval"
        expect(
            not same,
            f"after a {mode} forward {', '.join(same)} is in the same state whatever it was before: the forward "
            "seeds it",
        )


def _seed_everything(seed: int) -> None:
    import random
    import sys

    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def _equal_generators(a: GlobalState, b: GlobalState) -> list[str]:
    same = ["torch's generator"] if torch.equal(a.torch_rng, b.torch_rng) else []
    pairs = zip(a.cuda_rng, b.cuda_rng, strict=False)
    same += [f"the generator of cuda:{i}" for i, (x, y) in enumerate(pairs) if torch.equal(x, y)]
    same += ["python's random"] if a.python_rng == b.python_rng else []
    numpy_same = a.numpy_rng is not None and repr(a.numpy_rng) == repr(b.numpy_rng)
    return same + (["numpy.random"] if numpy_same else [])


@check()
def check_eval_stateless(ctx: Context) -> Measurement | None:
    """Eval forwards leave no trace: the first input gives the same again, and no parameter or buffer moves."""
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


@check(devices="both")
def check_history_independence(ctx: Context) -> Measurement | None:
    """The result does not depend on the size, dtype or mode of earlier calls."""
    x = ctx.input()
    with torch.no_grad():
        expected = ctx.output(ctx.eval_model(warm=False), x)
    figures = []
    for other in [size for size in ctx.sizes() if size != ctx.size][:3]:
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


@check(devices="both")
def check_batch_independence(ctx: Context) -> Measurement | None:
    """In eval mode a sample's output is its own: alone, in any batch, in any order, next to outliers and NaN."""
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
        last = ctx.output(model, torch.cat([b, 2 * b, a]))[2:]
        figures.append(agree(last, alone, tolerance, "a sample's output at the end of a batch of three", hint))
    return worst(figures)


@check()
def check_norm_stats(ctx: Context) -> None:
    """A training forward moves every running statistic; an eval forward moves no buffer."""
    model = ctx.train_model(dtype=torch.float32)
    before = {name: b.clone() for name, b in model.named_buffers()}
    ctx.outputs(model, 2 * ctx.input(dtype=torch.float32) + 1)
    moved = {name: b.clone() for name, b in model.named_buffers()}
    tracked = [n for n in before if n.rpartition(".")[2] in ("running_mean", "running_var")]
    still = [n for n in tracked if n in moved and torch.equal(before[n], moved[n])]
    expect(
        not still,
        f"a training forward left {still[:4]} as they were: momentum 0, a layer held in eval mode, or never called",
    )
    model.eval()
    ctx.outputs(model, ctx.input(seed=3, dtype=torch.float32))
    drifted = [n for n, b in model.named_buffers() if n in moved and not torch.equal(b, moved[n])]
    expect(not drifted, f"an eval forward changed {drifted[:4]}: the layer is held in training mode")


@check(level="should")
def check_train_eval_consistency(ctx: Context) -> Measurement | None:
    """With statistics taken from one batch and dropout off, training and eval mode agree on that batch."""
    model = ctx.train_model(perturb=True)
    ctx.require(
        any(getattr(m, "running_mean", None) is not None for m in model.modules()),
        "the network keeps no running statistics",
    )
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            for attribute in ("p", "drop_prob"):
                if isinstance(getattr(module, attribute, None), float):
                    setattr(module, attribute, 0.0)
    x = ctx.input(4)
    warm_statistics(model, x)
    with torch.no_grad():
        trained, again = ctx.output(model, x), ctx.output(model, x)
        ctx.require(torch.equal(trained, again), "training mode draws random numbers that no dropout module holds")
        model.eval()
        out = ctx.output(model, x)
    bound = 0.5
    measured = float((out - trained).abs().mean() / trained.std().clamp(min=1e-12))
    expect(
        measured < bound,
        f"training and eval mode differ by {measured:.3g} standard deviations of the logits after the statistics "
        "were taken "
        f"from the same batch, expected less than {bound}: one normalisation layer serves several places, or eps "
        "differ",
        measured,
        bound,
    )
    return Measurement(measured, bound)


@check()
def check_mode_flags(ctx: Context) -> None:
    """train() and eval() return the network and reach every sub-module; a forward flips none."""
    model = ctx.build().to(ctx.device)
    x = ctx.input(dtype=torch.float32)
    for mode in (True, False, True):
        name = "train()" if mode else "eval()"
        returned = model.train() if mode else model.eval()
        expect(
            returned is model, f"{name} returned {type(returned).__name__}, expected the network itself: `return self`"
        )
        _expect_flags(model, mode, f"after {name}")
        ctx.outputs(model, x)
        _expect_flags(model, mode, f"after a forward in {'training' if mode else 'eval'} mode")


def _expect_flags(model: nn.Module, mode: bool, when: str) -> None:
    wrong = [name or "the network" for name, m in model.named_modules() if m.training != mode]
    expect(not wrong, f"{when}, training={not mode} on {wrong[:4]}, expected training={mode} everywhere")


@check()
def check_no_grad_respected(ctx: Context) -> None:
    """No graph is built under no_grad, and the network works in inference mode."""
    model = ctx.eval_model(dtype=torch.float32)
    x = ctx.input(dtype=torch.float32)
    for train in (False, True):
        model.train(train)
        with torch.no_grad():
            graphed = [out for out in ctx.outputs(model, x) if out.requires_grad]
        mode = "training" if train else "eval"
        expect(
            not graphed, f"under torch.no_grad() the {mode} output requires grad: the forward enables gradients itself"
        )
    model.eval()
    with torch.inference_mode():
        out = ctx.output(model, x)
    expect(not out.requires_grad, "under torch.inference_mode() the output requires grad")
    out = ctx.output(model, x)
    expect(out.requires_grad, "with gradients on, the eval output requires no grad: the forward turns gradients off")


@check(devices="both")
def check_input_unmodified(ctx: Context) -> None:
    """The input keeps its values, version, requires_grad and grad, in eval and training mode."""
    for train in (False, True):
        for wanted in (False, True):
            model = ctx.train_model() if train else ctx.eval_model()
            x = ctx.input()
            kept, version = x.clone(), x._version
            x.requires_grad_(wanted)
            outputs = ctx.outputs(model, x)
            mode = "training" if train else "eval"
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


@check()
def check_reentrancy(ctx: Context) -> Measurement | None:
    """A call within a call, as threads interleave them, does not change the outer result."""
    model = ctx.eval_model()
    x, other = ctx.input(1), 2 * ctx.input(1, seed=9) + 1
    with torch.no_grad():
        expected = ctx.output(model, x)
        leaves = [(name, m) for name, m in model.named_modules() if name and not list(m.children())]
        figures = []
        for name, leaf in leaves[:: max(1, len(leaves) // MOST_INTERRUPTS)]:
            busy: list[bool] = []

            def interrupt(*_: object, busy: list[bool] = busy) -> None:
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


@check(level="should", devices="both", cost="slow")
def check_thread_safety(ctx: Context) -> Measurement | None:
    """Eight threads that share one network get what they would get one after the other."""
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
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not errors, f"{len(errors)} of 8 threads that share the network raised, first: {errors[:1]}")
    hint = "The forward keeps intermediate results on self"
    pairs = [(out, expected[i]) for i, outs in enumerate(found) for out in outs]
    return worst(agree(out, ref, 1e-12, "an output computed in parallel", hint) for out, ref in pairs)


@check()
def check_freeze_respected(ctx: Context) -> None:
    """With every parameter frozen a forward leaves them frozen and builds no graph."""
    model = ctx.train_model(dtype=torch.float32).requires_grad_(False)
    outputs = ctx.outputs(model, ctx.input(dtype=torch.float32))
    thawed = [name for name, p in model.named_parameters() if p.requires_grad]
    expect(not thawed, f"a training forward set requires_grad=True on {thawed[:4]}, which had been frozen")
    expect(
        not any(out.requires_grad for out in outputs),
        "all parameters are frozen, yet the output requires grad: a tensor outside parameters() is trained",
    )


@check()
def check_stochastic_honest(ctx: Context) -> Measurement | None:
    """Training mode is random exactly where dropout is claimed or held."""
    x = ctx.input()
    model = ctx.train_model()
    state = copy.deepcopy(model.state_dict())
    outputs = []
    for seed in range(6):
        model.load_state_dict(state)
        torch.manual_seed(100 + seed)
        with torch.no_grad():
            outputs.append(ctx.output(model, x))
    random = any(not torch.equal(out, outputs[0]) for out in outputs[1:])
    active = [name for name, m in model.named_modules() if _drops(m)]
    if "stochastic_train" in ctx.claims.declared and not ctx.claims.stochastic_train:
        return agree(
            outputs[1], outputs[0], 0.0, "a training forward under another seed", "Undeclared noise or dropout"
        )
    expect(
        random or not (active or ("stochastic_train" in ctx.claims.declared and ctx.claims.stochastic_train)),
        f"training forwards under six seeds are equal, though {active[:4] or 'dropout is declared'}: it never fires",
    )
    return None


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) and 0 < module.p < 1
