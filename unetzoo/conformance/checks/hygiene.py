"""Hygiene: global state, output and warnings, repr, registration of tensors, calls and hooks of sub-modules."""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import io
import itertools
import logging
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from unetzoo.analysis.operations import watching
from unetzoo.conformance.definition.check import CREATE, check
from unetzoo.conformance.definition.context import Context, state_layout
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, expect
from unetzoo.conformance.measuring.auditing import audited
from unetzoo.conformance.measuring.sandbox import GlobalState, flip_tf32


@check(requires=CREATE, devices="both", core=True)
def check_global_state(ctx: Context) -> None:
    """Building, forward and backward leave global flags, filters, loggers, environment and working folder unchanged."""
    importlib.import_module("torch._dynamo.config")  # its settings are compared once it is there
    for flipped in (False, True):
        with _flipped(flipped):
            before = GlobalState.capture()
            for stage in _stages(ctx):
                changes = before.changes()
                expect(not changes, f"{stage} changed global state: {'; '.join(changes[:4])}")
    # These are flipped for construction alone: a forward on more threads than cores crawls, and one in another dtype
    # than the network's is refused.
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_default_dtype(torch.float64)
    before = GlobalState.capture()
    ctx.build()
    changes = before.changes()
    expect(not changes, f"construction changed global state: {'; '.join(changes[:4])}")


def _stages(ctx: Context) -> Iterator[str]:
    """Build and run the network, yielding the name of each stage once it is over; then what is run less often."""
    model = ctx.build().to(ctx.device)
    yield "construction"
    x = ctx.input(dtype=torch.float32)
    model.train()
    outputs = ctx.outputs(model, x)
    yield "a training forward"
    ctx.loss(outputs).backward()
    yield "backward"
    model.eval()
    ctx.outputs(model, x)
    yield "an eval forward"
    odd = ctx.odd_size()
    rare = {
        f"at size {list(odd)}": ctx.input(size=odd, dtype=torch.float32),
        "of one image": x[:1],
        "without a channel axis": x[:, 0],
        "at a size that may be illegal": x[..., :-1] if max(ctx.capabilities.divisor) > 1 else x[..., :1],
        "of a float64 network": x.double(),
    }
    for (what, given), train in itertools.product(rare.items(), (True, False)):
        # Gradients stay on: torch.no_grad() would put back a mode that a forward leaves behind.
        with contextlib.suppress(Exception):  # whether it runs is another check's matter
            outputs = ctx.outputs(model.to(given.dtype).train(train), given)
            if train:
                (1e-6 * ctx.loss(outputs)).backward()
        yield f"{'a training step' if train else 'an eval forward'} {what}"


@contextlib.contextmanager
def _flipped(flip: bool) -> Iterator[None]:
    """Start from unusual values, so that setting a flag to its usual value shows."""
    state = GlobalState.capture()
    try:
        if flip:
            torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
            torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
            flip_tf32()
            torch.set_anomaly_enabled(not torch.is_anomaly_enabled(), check_nan=False)
            torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled(), warn_only=True)
            logging.getLogger().setLevel(logging.ERROR + 3)
        warnings.simplefilter("error" if flip else "always", category=ImportWarning)
        yield
    finally:
        state.restore()


@check(level="should")
def check_self_contained(ctx: Context) -> None:
    """Building, forward and backward open no connection, write no file, and leave no process or thread running."""
    before = set(threading.enumerate())
    with audited() as heard:
        for stage in _stages(ctx):
            expect(
                not heard,
                f"{stage} {'; '.join(heard[:4])}: download weights and write files on request alone",
            )
            started = [thread.name for thread in set(threading.enumerate()) - before]
            expect(not started, f"{stage} left threads running: {started[:4]}")


@check()
def check_silent(ctx: Context) -> None:
    """Nothing is printed and no warning is raised in construction, forward and backward."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        warnings.simplefilter("always")
        stack.callback(torch.set_warn_always, torch.is_warn_always_enabled())
        torch.set_warn_always(True)
        for stage in _stages(ctx):
            text = out.getvalue() or err.getvalue()
            expect(not text, f"{stage} printed {text.strip()[:200]!r}: use the logging module")
            if caught:
                first = caught[0]
                raise CheckFailed(
                    f"{stage} warned: {first.category.__name__}: {str(first.message)[:300]} "
                    f"(at {first.filename.rpartition('/')[2]}:{first.lineno})"
                )


@check(requires=CREATE, level="should")
def check_repr(ctx: Context) -> Measurement | None:
    """`repr` does not raise and stays below 1 MB, before and after a training step."""
    model = ctx.build()
    _expect_printable(model, "a fresh network")
    with contextlib.suppress(Exception):  # whether it runs is another check's matter
        ctx.loss(ctx.outputs(model, ctx.input(dtype=torch.float32))).backward()
    _expect_printable(model, "a network that has run")
    size = len(repr(model).encode())
    expect(
        size < 2**20,
        f"repr is {size} bytes long, expected less than {2**20}: keep tensors out of extra_repr",
        size,
        2**20,
    )
    return Measurement(size, 2**20)


def _expect_printable(model: nn.Module, what: str) -> None:
    for name, module in model.named_modules():
        try:
            module.extra_repr()
        except Exception as error:  # whichever error: it would break every report that prints the network
            raise CheckFailed(
                f"extra_repr of {name or 'the network'!r} raised {type(error).__name__}: {error} (on {what})"
            ) from error


@check(requires=CREATE, core=True)
def check_modules_registered(ctx: Context) -> None:
    """No module hides in a plain attribute, list, dict, tuple or set, where `.to()` and `train()` miss it."""
    hint = "misses .to(), train(), state_dict and the optimizer. Use ModuleList or ModuleDict"
    _expect_registered(ctx, nn.Module, hint)


@check(requires=(*CREATE, "check_modules_registered"), core=True)
def check_all_registered(ctx: Context) -> None:
    """No tensor hides in a plain attribute, list, dict, tuple or set: all are parameters or buffers."""
    hint = "misses .to(), state_dict and the optimizer. Use ParameterList or register_buffer; keep no activations"
    _expect_registered(ctx, Tensor, hint)


def _expect_registered(ctx: Context, kind: type[nn.Module] | type[Tensor], hint: str) -> None:
    model = ctx.train_model(dtype=torch.float32)
    _expect_none_hidden(model, "after construction", kind, hint)
    for mode in ("a training", "an eval"):
        model.train(mode == "a training")
        with contextlib.suppress(RuntimeError, TypeError, ValueError):  # whether it runs is another check's matter
            ctx.outputs(model, ctx.input(dtype=torch.float32))
        _expect_none_hidden(model, f"after {mode} forward", kind, hint)


def _expect_none_hidden(model: nn.Module, when: str, kind: type[nn.Module] | type[Tensor], hint: str) -> None:
    known = {id(t) for t in [*model.parameters(), *model.buffers(), *model.modules()]}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute in ("_parameters", "_buffers", "_modules") or attribute.endswith(
                ("_hooks", "_hooks_with_kwargs")
            ):
                continue
            for path, found in _hidden(value, attribute, 4):
                if isinstance(found, kind) and id(found) not in known:
                    what = f"tensor {list(found.shape)}" if isinstance(found, Tensor) else "module"
                    place = f"{name + '.' if name else ''}{path}"
                    raise CheckFailed(f"{when}, {place} holds an unregistered {what}: it {hint}")


def _hidden(value: object, path: str, depth: int) -> Iterator[tuple[str, nn.Module | Tensor]]:
    if isinstance(value, (nn.Module, Tensor)):
        yield path, value
    elif depth and isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield from _hidden(item, f"{path}[{key!r}]", depth - 1)
    elif depth and isinstance(value, functools.partial):
        yield from _hidden([value.args, value.keywords], path, depth)
    elif depth and isinstance(value, types.SimpleNamespace):
        yield from _hidden(vars(value), path, depth)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        yield from _hidden({f.name: getattr(value, f.name, None) for f in fields(value)}, path, depth)
    elif depth and isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        for index, item in enumerate(list(value)):
            yield from _hidden(item, f"{path}[{index}]", depth - 1)


@check(core=True)
def check_state_dict_stable(ctx: Context) -> None:
    """Keys, shapes and parameter objects are the same before and after the first forwards."""
    model = ctx.train_model(dtype=torch.float32)
    keys = state_layout(model)
    identities = {name: id(p) for name, p in model.named_parameters()}
    for mode, size in itertools.product((True, False), (ctx.size, ctx.odd_size())):
        model.train(mode)
        ctx.outputs(model, ctx.input(size=size, dtype=torch.float32))
        when = f"the first {'training' if mode else 'eval'} forward at size {list(size)}"
        changed = sorted(set(keys.items()) ^ set(state_layout(model).items()))
        expect(not changed, f"{when} changed the state dict: {changed[:4]}; an optimizer made before misses them")
        replaced = [name for name, p in model.named_parameters() if identities.get(name) != id(p)]
        expect(
            not replaced,
            f"{when} replaced parameters {replaced[:4]} by new objects; an optimizer made before holds the old",
        )


@check(core=True)
def check_module_reuse(ctx: Context) -> None:
    """Every layer with parameters is called once per forward, unless declared in `reused`."""
    calls = _calls(ctx, ctx.train_model(dtype=torch.float32))
    many = {name: n for name, n in calls.items() if n > 1 and not _declared(name, ctx.capabilities.reused)}
    expect(
        not many,
        f"called more than once in one forward: {dict(list(many.items())[:4])}. One layer serves several places "
        "by mistake, "
        "or declare it in the capability `reused`",
    )


def _declared(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _calls(ctx: Context, model: nn.Module) -> collections.Counter[str]:
    """Number of calls in one forward of each module that owns parameters or statistics itself."""
    owners = {name: m for name, m in model.named_modules() if m._parameters or m._buffers}
    calls = collections.Counter(dict.fromkeys(owners, 0))
    with watching(owners.items(), lambda name, *_: calls.update([name])):
        ctx.outputs(model, ctx.input(dtype=torch.float32))
    return calls


@check()
def check_hooks_fire(ctx: Context) -> None:
    """Every layer with parameters is called as a module, so that hooks, FSDP and profilers see it."""
    model = ctx.train_model(dtype=torch.float32)
    fired: collections.Counter[str] = collections.Counter()
    entered: collections.Counter[str] = collections.Counter()
    inside = {f"{n}.out_proj" for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    owners: set[str] = set()
    for name, module in model.named_modules():
        # What is declared as frozen is kept for checkpoints, whether it is used or not.
        learning = [n for n, _ in module.named_parameters(name, recurse=False) if n not in ctx.capabilities.frozen]
        if learning and name not in inside:
            owners.add(name)
        module.register_forward_hook(lambda *_, name=name: fired.update([name]))
        if not isinstance(module, torch.jit.ScriptModule):
            module.forward = _counting(module.forward, entered, name)
    reached: list[set[str]] = []
    for mode, graph in ((True, True), (False, True), (False, False)):
        before = fired.copy()
        with torch.set_grad_enabled(graph):
            ctx.outputs(model.train(mode), ctx.input(dtype=torch.float32))
        reached.append({name for name in owners if fired[name] > before[name]})
    bypassed = sorted(name for name in entered if entered[name] > fired[name])
    expect(
        not bypassed,
        f"{bypassed[:4]}: `.forward(x)` is called directly, which bypasses hooks, FSDP and profilers; call the module",
    )
    lists = (nn.ParameterList, nn.ParameterDict)
    silent = sorted(name for name in owners if not fired[name] and not isinstance(model.get_submodule(name), lists))
    expect(
        not silent,
        f"{silent[:4]}{' and more' if len(silent) > 4 else ''}: never called as a module in a training or eval "
        "forward, "
        "so forward hooks do not fire; use the layer, or remove it",
    )
    left = sorted(reached[1] - reached[2])
    expect(not left, f"{left[:4]}: called as a module in an eval forward with a graph, and not in one without")


def _counting(forward: Callable[..., object], entered: collections.Counter[str], name: str) -> Callable[..., object]:
    def counted(*args: object, **kwargs: object) -> object:
        entered[name] += 1
        return forward(*args, **kwargs)

    return counted
