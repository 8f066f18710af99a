"""Registration and construction: signature, options, seeds, import, metadata, the meta device."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import subprocess
import sys

import torch
from torch import Tensor, nn

from unetzoo.analysis.cost import count_operations
from unetzoo.conformance.definition.check import CREATE, EVAL, check
from unetzoo.conformance.definition.context import Context, state_layout
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, NotApplicable, agree, expect
from unetzoo.conformance.measuring.sandbox import GlobalState, seed_generators

NONSENSE = "no_such_option_of_any_network"
MACS_TOLERANCE = 0.01


@check(requires=(), core=True)
def check_create_signature(ctx: Context) -> None:
    """The builder takes in_channels and num_classes by keyword and returns a module with parameters on the CPU."""
    model = ctx.build()
    expect(
        isinstance(model, nn.Module),
        f"the builder returned {type(model).__name__}, expected a torch.nn.Module",
    )
    expect(
        any(True for _ in model.parameters()), "the network has no registered parameter: nothing in it can be trained"
    )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        expect(
            tensor.device.type == "cpu",
            f"{name} is on {tensor.device} right after construction, expected cpu: let the caller move the network",
        )
        expect(
            tensor.dtype == torch.float32 or not tensor.is_floating_point(),
            f"{name} is {tensor.dtype} right after construction, expected torch.float32 (the default dtype)",
        )


@check(requires=CREATE, core=True)
def check_unknown_kwargs(ctx: Context) -> None:
    """An unknown keyword is refused with an error that names it, whatever its value and prefix."""
    known = _parameters(ctx)
    wrong = [(NONSENSE, 1), (NONSENSE, False), (f"encoder_{NONSENSE}", 1), (f"decoder_{NONSENSE}", 1), ("num_class", 7)]
    for name, value in ((n, v) for n, v in wrong if n not in known):
        option: dict[str, object] = {name: value}
        try:
            ctx.build(**option)  # type: ignore[arg-type]
        except (TypeError, ValueError, KeyError) as error:
            expect(
                name in str(error),
                f"{name}={value} raised {type(error).__name__} ({error}), expected a message that names the keyword",
            )
        else:
            raise CheckFailed(
                f"{name}={value} was silently accepted, expected a TypeError naming it: a mistyped option builds the "
                "wrong network. Do not swallow **kwargs"
            )


@check(requires=())
def check_create_twice(ctx: Context) -> None:
    """Every call of the builder gives the same network, also with its defaults passed explicitly."""
    signature, defaults = repr(_parameters(ctx)), _defaults(ctx)
    kept = {name: copy.deepcopy(value) for name, value in defaults.items() if isinstance(value, (list, dict))}
    first = ctx.build()
    ctx.build(num_classes=1 if ctx.num_classes > 1 else 2)
    again = {"a later call": ctx.build(), "a call with the signature's own defaults": ctx.build(**defaults)}  # type: ignore[arg-type]
    shared = {id(p) for p in first.parameters()}
    for call, network in again.items():
        different = sorted(set(state_layout(first).items()) ^ set(state_layout(network).items()))
        expect(not different, f"{call} gave another network; differing (name, (shape, dtype)): {different[:4]}")
        texts = repr(first), repr(network)
        expect(texts[0] == texts[1], f"{call} gave another repr: {_first_difference(*texts)}")
        both = [n for n, p in network.named_parameters() if id(p) in shared]
        expect(not both, f"two networks share parameters {both[:4]}: every call must make its own")
    expect(
        repr(_parameters(ctx)) == signature,
        "the builder's default arguments changed while building: a mutable default is modified in place",
    )
    changed = [name for name in kept if defaults[name] != kept[name]]
    expect(not changed, f"the builder changed the caller's {changed}: copy options before modifying them")


def _parameters(ctx: Context) -> dict[str, inspect.Parameter]:
    """The builder's parameters by name; none where it does not tell."""
    try:
        return dict(inspect.signature(ctx.builder).parameters)
    except (TypeError, ValueError):
        return {}


def _defaults(ctx: Context) -> dict[str, object]:
    """The values that the builder's signature gives to its options; of lists and dicts copies, as a caller's are."""
    return {
        name: copy.deepcopy(p.default) if isinstance(p.default, (list, dict)) else p.default
        for name, p in _parameters(ctx).items()
        if p.default is not p.empty and p.kind is not p.POSITIONAL_ONLY and name not in ("in_channels", "num_classes")
    }


def _first_difference(a: str, b: str) -> str:
    pairs = zip(a.splitlines(), b.splitlines(), strict=False)
    return next((f"{x.strip()!r}, then {y.strip()!r}" for x, y in pairs if x != y), "one is longer")


@check(requires=CREATE, core=True)
def check_create_seeded(ctx: Context) -> None:
    """Weights follow torch's global generator: the same seed gives the same weights, another seed others."""
    first, again, other = ctx.build(seed=0), ctx.build(seed=0), ctx.build(seed=1)
    pairs = list(zip(first.named_parameters(), again.parameters(), strict=True))
    unlike = [name for (name, a), b in pairs if not torch.equal(a, b)]
    expect(
        not unlike,
        f"torch.manual_seed(0) twice gave different {unlike[:4]}: weights are drawn from another generator than "
        "torch's",
    )
    starts, ends = [], []
    for seed in (1, 2):
        seed_generators(seed)
        starts.append(GlobalState.capture())
        ctx.builder(in_channels=ctx.in_channels, num_classes=ctx.num_classes)
        ends.append(GlobalState.capture())
    same = ends[0].same_generators(ends[1])
    expect(
        not same,
        f"after construction under two seeds {', '.join(same)} is in the same state: the constructor calls "
        "manual_seed or the like, so every 'random' network is the same one",
    )
    weights = [(name, a, b) for (name, a), b in zip(first.named_parameters(), other.parameters(), strict=True)]
    drawn = [(name, a, b) for name, a, b in weights if a.dim() > 1 and float(a.std()) > 0]
    fixed = [name for name, a, b in drawn if torch.equal(a, b)]
    expect(
        bool(fixed) or not drawn or "torch (CPU)" not in starts[0].same_generators(ends[0]),
        "construction draws weights and puts torch's generator back: two networks made in a row are the same one",
    )
    layers = {f"{n}.weight" for n, m in first.named_modules() if isinstance(m, (nn.modules.conv._ConvNd, nn.Linear))}
    private = [n for n, a, _ in drawn if n in fixed and a.requires_grad and _looks_random(a, layer=n in layers)]
    expect(
        not private,
        f"seeds 0 and 1 gave the same random-looking {private[:4]}: drawn from a generator of its own, seeded alike",
    )
    expect(
        2 * len(fixed) <= len(drawn),
        f"seeds 0 and 1 gave the same random-looking weights {fixed[:4]}: the constructor seeds a generator of its own",
    )


def _looks_random(values: Tensor, *, layer: bool) -> bool:
    """Whether the values look drawn: no two are alike and, where it is no layer's weight, neighbors are not either.

    Kernels that are the same by design, such as bilinear ones, repeat their values; tables of sines change slowly.
    """
    size = values.detach().abs()
    if len(size.unique()) <= 0.9 * size.numel():
        return False
    centered = values.detach() - values.mean()
    steps = [
        (centered.roll(1, axis) * centered).mean() / centered.var() for axis, n in enumerate(values.shape) if n > 2
    ]
    return layer or (values.numel() >= 64 and all(abs(float(step)) < 0.3 for step in steps))


@check(requires=CREATE)
def check_metadata(ctx: Context) -> Measurement | None:
    """The declared numbers of parameters and multiply-accumulate operations are the measured ones."""
    capabilities = ctx.capabilities
    ctx.require(
        capabilities.num_params is not None or capabilities.macs is not None,
        "no parameter or operation count is declared",
    )
    with torch.device("meta"):
        model = ctx.build(in_channels=capabilities.default_in_channels, num_classes=capabilities.default_num_classes)
    count = sum(p.numel() for p in model.parameters())
    if capabilities.num_params is not None:
        expect(
            count == capabilities.num_params,
            f"{count} parameters, declared {capabilities.num_params} (ratio {count / capabilities.num_params:.4f})",
            count,
            capabilities.num_params,
        )
    if capabilities.macs is None or capabilities.macs_size is None:
        return Measurement(0.0, 0.0)
    model.eval()
    channels = capabilities.default_in_channels or ctx.in_channels
    macs, _ = count_operations(model, torch.randn((1, channels, *capabilities.macs_size), device="meta"))
    error = abs(macs / capabilities.macs - 1)
    hint = "; the declared number counts FLOPs, two to a multiply-accumulate" if abs(error - 0.5) < 0.02 else ""
    expect(
        error <= MACS_TOLERANCE,
        f"{macs:.4g} multiply-accumulates at {capabilities.macs_size}, declared {capabilities.macs:.4g}{hint}",
        error,
        MACS_TOLERANCE,
    )
    return Measurement(error, MACS_TOLERANCE)


IMPORT_SCRIPT = """
import json, pickle, socket, sys
sys.path[:] = json.loads(sys.argv[1])
import torch, warnings, logging
from unetzoo.conformance.measuring.sandbox import GlobalState
opened = []
def refuse(*args, **kwargs):
    opened.append(repr(args[:2]))
    raise OSError("no network access while a model is imported")
socket.create_connection = socket.socket.connect = socket.getaddrinfo = refuse
before = GlobalState.capture()
kind, name = sys.argv[2:]
if kind == "module":
    __import__(name)
else:
    import unetzoo
    unetzoo.info(name)
found = [f"changed {c}" for c in before.changes()] + [f"opened a connection {o}" for o in opened]
found += ["initialized CUDA"] if torch.cuda.is_initialized() else []
found += [f"moved the random generator of {g}" for g in before.rng_changes()]
print("\\n" + json.dumps(found))
"""


@check(requires=CREATE, cost="slow")
def check_import_light(ctx: Context) -> None:
    """Importing the network's module opens no connection, initializes no CUDA and changes no global state."""
    source = getattr(ctx.builder, "source", None)
    module = getattr(getattr(ctx.builder, "func", ctx.builder), "__module__", "__main__")
    target = ("name", source) if isinstance(source, str) else ("module", module)
    ctx.require(target[1] != "__main__", "the builder was defined interactively")
    command = [sys.executable, "-c", IMPORT_SCRIPT, json.dumps(sys.path), *target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ctx.tmp_path, check=False)
    alone = f"No module named {target[1].partition('.')[0]!r}" not in done.stderr
    ctx.require(alone, f"the builder's module {target[1]!r} is not on sys.path")
    ctx.require("UnknownNameError" not in done.stderr, f"{target[1]!r} is registered in this process alone")
    expect(done.returncode == 0, f"importing {target[1]} in a fresh process failed: {done.stderr.strip()[-400:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    expect(not found, f"importing {target[1]} {'; '.join(found[:4])}: do nothing at import")


FRESH_SCRIPT = """
import json, pickle, sys
paths, seed, options, folder = json.loads(sys.argv[1])
sys.path[:] = paths
import torch
torch.set_num_threads(1)
with open(folder + "/builder.pickle", "rb") as file:
    builder = pickle.load(file)
torch.manual_seed(seed)
model = builder(**options).double().eval()
x = torch.load(folder + "/input.pt", weights_only=True)
from unetzoo.conformance.definition.context import tensors_in
with torch.no_grad():
    torch.save([list(model.state_dict()), tensors_in(model(x))[0]], folder + "/result.pt")
"""


@check(requires=EVAL, cost="slow")
def check_fresh_process(ctx: Context) -> Measurement | None:
    """Built from the same seed in a fresh process, the network has the same keys, order and outputs.

    What depends on the calls before, on state of the module's file or on the order of a set differs there. The image
    has the axes of earlier ones swapped, so that a cache by the number of pixels does not pass for one by the size.
    """
    try:
        (ctx.tmp_path / "builder.pickle").write_bytes(pickle.dumps(ctx.builder))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotApplicable(f"the builder cannot be sent to another process: {error}") from error
    x = ctx.input(size=ctx.capabilities.legal(ctx.size[::-1])).cpu()
    torch.save(x, ctx.tmp_path / "input.pt")
    options = {"in_channels": ctx.in_channels, "num_classes": ctx.num_classes}
    arguments = json.dumps([sys.path, ctx.seed, options, str(ctx.tmp_path)])
    command = [sys.executable, "-c", FRESH_SCRIPT, arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    missing = any(e in done.stderr for e in ("ModuleNotFoundError", "Can't get attribute", "UnknownNameError"))
    ctx.require(not missing, "the builder cannot be imported in another process, or is registered in this one alone")
    expect(done.returncode == 0, f"a forward in a fresh process failed: {done.stderr.strip()[-400:]}")
    keys, there = torch.load(ctx.tmp_path / "result.pt", weights_only=True)
    model = ctx.build().double().eval()
    with torch.no_grad():
        ctx.output(model, ctx.input().cpu())
    moved = [name for name, other in zip(model.state_dict(), keys, strict=False) if name != other]
    expect(not moved, f"in a fresh process the state dict has another order, from {moved[:2]}: it follows a set's")
    with torch.no_grad():
        here = ctx.output(model, x)
    hint = "The file keeps state between calls, or the order of a set decides"
    return agree(there, here, 1e-9, "the first output in a fresh process, against one here,", hint)


@check(requires=EVAL)
def check_device_context(ctx: Context) -> Measurement | None:
    """Built on the meta device and filled with weights, the network is the same function."""
    reference = ctx.eval_model(dtype=torch.float64, perturb=True)
    with torch.device("meta"):
        model = ctx.build()
    elsewhere = [n for n, t in [*model.named_parameters(), *model.named_buffers()] if t.device.type != "meta"]
    expect(
        not elsewhere, f"built under torch.device('meta'), {elsewhere[:4]} are not there: a device is given explicitly"
    )
    persistent = set(model.state_dict())
    lost = [n for n, _ in model.named_buffers() if n not in persistent]
    model.to_empty(device=ctx.device)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    model.double()
    model.load_state_dict(reference.state_dict())
    if lost:
        buffers = dict(reference.named_buffers())
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in lost:
                    buffer.copy_(buffers[name])
    model.eval()
    x = ctx.input()
    return agree(
        ctx.output(model, x),
        ctx.output(reference, x),
        1e-12,
        "the output of the network built on meta and filled from a state dict",
        "Something computed at construction is kept outside parameters and buffers",
    )
