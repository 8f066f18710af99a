"""Copies: a deep copy, a pickle and a saved directory are each the same network, and a separate one."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unetzoo.conformance.definition.check import EVAL, GATES, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect, worst
from unetzoo.conformance.measuring.tracing import blame, brief, listing
from unetzoo.errors import ConfigError
from unetzoo.network import DenseModel
from unetzoo.pretrained import from_pretrained

Change: TypeAlias = "tuple[str, tuple[int, ...]]"


@check(requires=GATES, core=True)
def check_deepcopy(ctx: Context) -> Measurement | None:
    """`copy.deepcopy` gives an equal, independent network, before and in the middle of a training step.

    Averaged weights are kept in a deep copy. A graph or closure that the network holds makes it fail, or tie both.
    """
    return _check_copies(ctx, copy.deepcopy, "copy.deepcopy")


@check(requires=GATES)
def check_pickle(ctx: Context) -> Measurement | None:
    """Pickling and unpickling gives an equal, independent network, before and in the middle of a training step.

    Worker processes are sent the network this way. Lambdas, local classes, locks and open graphs refuse.
    """
    parametrised = any(parametrize.is_parametrized(m) for m in ctx.build().modules())
    ctx.require(not parametrised, "torch pickles no parametrised module (weight norm, spectral norm)")
    return _check_copies(ctx, lambda model: pickle.loads(pickle.dumps(model)), "a pickle round trip")


def _check_copies(ctx: Context, duplicate: Callable[[nn.Module], nn.Module], how: str) -> Measurement | None:
    found = []
    for stage in ("a fresh network", "a network after a training forward, with its graph alive"):
        fresh = stage == "a fresh network"
        model = ctx.train_model(perturb=True).train(not fresh)
        next(model.parameters()).requires_grad_(False)
        outputs = [] if fresh else ctx.outputs(model, ctx.input())
        try:
            twin = duplicate(model)
        except Exception as error:  # what an attribute raises when it is copied is not foreseen
            culprits = _uncopied(model, duplicate)
            raise CheckFailed(
                f"{how} of {stage} raised {brief(f'{type(error).__name__}: {error}')}. Held by: "
                f"{listing(culprits) or type(model).__name__}. Keep no graph, lambda, lock or generator on a module, "
                "and define its class at the top of a file"
            ) from error
        del outputs
        found.append(_independent(ctx, model, twin, f"{how} of {stage}"))
    return worst(m for m in found if m is not None)


def _uncopied(model: nn.Module, duplicate: Callable[[nn.Module], nn.Module]) -> list[str]:
    """The attributes that cannot be copied alone."""
    found = []
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in {"_modules", "_parameters", "_buffers"}:
                try:
                    duplicate(value)
                except Exception as error:  # as above: any refusal counts
                    found.append(f"{name or 'model'}.{key} ({brief(f'{type(error).__name__}: {error}', 120)})")
    return found


@torch.no_grad()
def _independent(ctx: Context, model: nn.Module, twin: nn.Module, how: str) -> Measurement | None:
    """The twin computes the same, shares no memory, and follows its own weights alone."""
    expect(type(twin) is type(model), f"{how} gave {type(twin).__name__}, not {type(model).__name__}")
    mine = {t.untyped_storage().data_ptr(): n for n, t in _tensors(model) if t.numel()}
    shared = [n for n, t in _tensors(twin) if t.numel() and t.untyped_storage().data_ptr() in mine]
    expect(not shared, f"{how} shares memory with the original: {listing(shared)}", len(shared), 0)
    mode = "training" if twin.training else "eval"
    expect(twin.training == model.training, f"{how} is in {mode} mode, and the original is not")
    learning = {n: p.requires_grad for n, p in model.named_parameters()}
    other = [n for n, p in twin.named_parameters() if p.requires_grad != learning.get(n)]
    expect(not other, f"{how} has another requires_grad in {listing(other)}")
    x = ctx.input(seed=50)
    if not model.training:
        awake = [name for name, module in twin.named_modules() if module.training]
        hint = f"In training mode, as the original is not: {listing(awake)}" if awake else ""
        agree(ctx.output(twin, x), ctx.output(model, x), 1e-12, f"the output of {how}, as it was copied", hint)
    before = ctx.output(model.eval(), x).clone()
    found = agree(ctx.output(twin.eval(), x), before, 1e-12, f"the eval output of {how}")
    _change_weights(ctx, twin)
    after = ctx.output(twin, x).clone()
    hint = "It holds a bound method, closure or alias of the original"
    agree(ctx.output(model, x), before, 0.0, f"the original's output after the weights of {how} changed", hint)
    _change_weights(ctx, model)
    agree(after, ctx.output(model, x), 1e-12, f"the output of {how} after a change of its weights", hint)
    return found


def _change_weights(ctx: Context, model: nn.Module) -> None:
    """Add the same small noise to every parameter, whatever the network."""
    generator = ctx.generator(77)
    for p in model.parameters():
        p.add_(0.05 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device, p.dtype))


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


@check(requires=EVAL, core=True)
def check_save_pretrained(ctx: Context) -> Measurement | None:
    """`save_pretrained` and `from_pretrained` restore the same network, and any reader finds the same tensors.

    An option that the configuration forgets builds another network from the same weights.
    """
    model = ctx.eval_model(dtype=torch.float32).cpu()
    folder = ctx.tmp_path / "saved"
    with blame("save_pretrained"):
        load = _save(model, folder)
    ctx.require(load, "the network has no save_pretrained and from_pretrained")
    assert load is not None
    configs = list(folder.glob("*.json"))
    expect(bool(configs), f"save_pretrained wrote no config.json, only {sorted(p.name for p in folder.iterdir())}")
    for path in configs:
        with blame(f"reading {path.name} as JSON"):
            json.loads(path.read_text(encoding="utf-8"))
    stored = _read(folder)
    state = {n: t for n, t in model.state_dict().items() if isinstance(t, Tensor)}
    lost = sorted(set(state) - set(stored) - {n for group in ctx.capabilities.tied for n in group})
    expect(not lost, f"the weights file lacks {listing(lost)}", len(lost), 0)
    changed = [n for n, t in stored.items() if n not in state or not torch.equal(t, state[n])]
    expect(not changed, f"the weights file holds other values than the network for {listing(changed)}", len(changed), 0)
    with blame("from_pretrained of the saved directory"):
        restored = load(folder).eval()
    expect(isinstance(restored, nn.Module), f"from_pretrained gave {type(restored).__name__}, not a module")
    layout, expected = ([f"{n} {list(t.shape)}" for n, t in m.state_dict().items()] for m in (restored, model))
    differing = sorted(set(layout) ^ set(expected))
    expect(not differing, f"from_pretrained built another network; differing tensors: {listing(differing)}")
    x = ctx.input().cpu()
    with torch.no_grad():
        out = ctx.output(model.double(), x)
        return agree(
            ctx.output(restored.double(), x), out, 1e-12, "the output after save_pretrained and from_pretrained"
        )


@check(requires=EVAL, core=True)
def check_changed_roundtrip(ctx: Context) -> Measurement | None:
    """A model saves and loads after each public change: a new head, freezing, checkpointing, loaded weights.

    The changes follow each other, each on what the one before was saved and loaded as: a head that the configuration
    forgets, or keys that a wrapper renames, show in the next load alone.
    """
    found = list(_roundtrips(ctx, _CHANGES))
    if "deep_supervision" in ctx.capabilities.supports:
        found += _roundtrips(ctx, _CHANGES[-2:], deep_supervision=True)
    return worst(found)


def _roundtrips(
    ctx: Context, changes: Sequence[tuple[str, tuple[int, ...]]], **options: object
) -> Iterator[Measurement]:
    model = ctx.build(**options)  # type: ignore[arg-type]
    weights = ctx.build(seed=1, **options).state_dict()  # type: ignore[arg-type]
    classes, done = ctx.num_classes, f"{options} and " if options else ""
    for name, value in changes:
        method = getattr(model, name, None)
        if not callable(method):
            continue
        try:
            method(*([weights] if name == "load_state_dict" else value))
        except (NotImplementedError, ConfigError):
            continue  # a base class has the method for all, and this network refuses it
        done += f"{name}({', '.join(map(str, value))})"
        x = ctx.input(dtype=torch.float32).cpu()
        if name.startswith("reset_"):
            classes = int(value[0])
            with torch.no_grad(), blame(f"a training forward after {done}"):
                widths = [out.shape[1] for out in ctx.outputs(copy.deepcopy(model).train(), x)]
            wrong = [width for width in widths if width != classes]
            expect(not wrong, f"after {done} a training output has {wrong[:1]} channels, expected {classes}")
        folder = ctx.tmp_path / f"{len(options)}{len(done)}"
        with blame(f"saving and loading after {done}", "The change is not in what was saved, or has renamed the keys"):
            load = _save(model, folder)
            if load is not None:
                twin = load(folder)
            else:
                twin = ctx.build(seed=2, num_classes=classes, **options)  # type: ignore[arg-type]
                twin.load_state_dict(model.state_dict())
        with torch.no_grad():
            pairs = zip(ctx.outputs(twin.eval(), x), ctx.outputs(model.eval(), x), strict=True)
        what = f"the output, saved and loaded after {done},"
        yield from (agree(a, b, 1e-5, what, "Keep what the change sets in the configuration") for a, b in pairs)
        model, done = twin, f"{done}, saved and loaded, then "


# Names of the methods here and in timm, and their arguments; every network has the first.
_CHANGES: tuple[Change, ...] = (
    ("load_state_dict", ()),
    ("set_gradient_checkpointing", (True,)),
    ("set_grad_checkpointing", (True,)),
    ("freeze_encoder", ()),
    ("reset_head", (5,)),
    ("reset_classifier", (5,)),
)


def _save(model: nn.Module, folder: Path) -> Callable[[Path], nn.Module] | None:
    """Save by the network's own method or by unetzoo's; returns what loads it again, or None where neither applies."""
    method, loader = getattr(model, "save_pretrained", None), getattr(type(model), "from_pretrained", None)
    if callable(method) and callable(loader):
        method(folder)
        return loader
    if isinstance(model, DenseModel):
        model.save_pretrained(folder)
        return from_pretrained
    return None


def _read(folder: Path) -> dict[str, Tensor]:
    """The tensors in the folder's weight files, read without the library that wrote them."""
    from safetensors import safe_open

    tensors: dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    for path in folder.glob("*.bin"):
        tensors |= torch.load(path, weights_only=True)
    expect(bool(tensors), f"no *.safetensors or *.bin among {sorted(p.name for p in folder.iterdir())}")
    return tensors
