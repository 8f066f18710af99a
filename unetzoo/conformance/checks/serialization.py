"""State and serialization: what is saved is the whole network, and what is loaded is checked."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import EVAL, GATES, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect, worst
from unetzoo.conformance.measuring.tracing import attributes, blame, listing


@check(requires=GATES, core=True)
def check_state_dict_roundtrip(ctx: Context) -> Measurement | None:
    """After some training, the state dict saved and loaded into another instance gives the same outputs.

    What lives outside of the state dict, as a random buffer that is not persistent or a counter in Python, is lost by
    every checkpoint. The file must load with `weights_only=True`: anything but tensors makes it refuse.
    """
    trained = ctx.train_model()
    optimizer = torch.optim.SGD(trained.parameters(), lr=1e-2)
    for step in range(3):
        optimizer.zero_grad()
        ctx.loss(ctx.outputs(trained, ctx.input(seed=step)), seed=step).backward()
        optimizer.step()
    path = ctx.tmp_path / "model.pt"
    torch.save(trained.state_dict(), path)
    objects = [n for n, value in trained.state_dict().items() if not isinstance(value, Tensor)]
    hint = f"Not tensors: {listing(objects)}" if objects else ""
    with blame("torch.load(weights_only=True) of the state dict", hint):
        state = torch.load(path, weights_only=True)
    other = ctx.train_model(seed=1)
    with blame("load_state_dict of a saved state dict into a second instance"):
        other.load_state_dict(state)
    thawed = [n for n, p in other.named_parameters() if p.requires_grad != trained.get_parameter(n).requires_grad]
    expect(other.training, "load_state_dict left the network in eval mode: the mode is the user's to choose")
    expect(not thawed, f"load_state_dict changed requires_grad of {listing(thawed)}")
    wrong = [
        n for n, t in other.state_dict().items() if isinstance(t, Tensor) and not _same(t, trained.state_dict()[n])
    ]
    expect(not wrong, f"{listing(wrong)} of the loaded network differ from what was saved", len(wrong), 0)
    _same_function(ctx, trained, other, "after saving and loading the state dict, the eval output")
    used = ctx.eval_model(seed=1, warm=False)
    with torch.no_grad():
        ctx.outputs(used, ctx.input())
    used.load_state_dict(state)
    what = "after loading the state dict into a network that has been used, which keeps what it made of other weights,"
    return _same_function(ctx, trained, used, f"{what} the eval output")


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.all((a == b) | (a.isnan() & b.isnan())))


@torch.no_grad()
def _same_function(ctx: Context, expected: nn.Module, actual: nn.Module, what: str) -> Measurement | None:
    """Hold one network's eval outputs to another's; a failure names what differs between the two."""
    x = ctx.input(seed=50)
    try:
        pairs = zip(ctx.outputs(actual.eval(), x), ctx.outputs(expected.eval(), x), strict=True)
        return worst(agree(a, b, 1e-12, what) for a, b in pairs)
    except CheckFailed as failure:
        hint = f"Differing between the two networks: {listing(_differences(expected, actual)) or 'nothing found'}"
        raise CheckFailed(f"{failure}. {hint}", failure.measured, failure.bound) from failure


def _differences(a: nn.Module, b: nn.Module) -> list[str]:
    """Parameters, buffers and plain attributes of the modules that are not equal, and whether they are saved."""
    saved = a.state_dict().keys()
    others = dict(b.named_parameters()) | dict(b.named_buffers())
    found = [
        f"{n} ({'in' if n in saved else 'not in'} the state dict)"
        for n, t in [*a.named_parameters(), *a.named_buffers()]
        if n in others and not _same(t, others[n])
    ]
    tensors = {path: value for path, value in attributes(b) if isinstance(value, Tensor)}
    held = {path: value for path, value in attributes(a) if isinstance(value, Tensor)}
    found += [f"{p} (a plain attribute)" for p, t in held.items() if p in tensors and not _same(t, tensors[p])]
    twins = dict(b.named_modules())
    for name, module in a.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, (bool, int, float, str)) and name in twins and vars(twins[name]).get(key) != value:
                found.append(f"{name or 'model'}.{key} = {value!r} (a plain attribute)")
    return found


@check(core=True)
def check_load_strict(ctx: Context) -> None:
    """A missing key, an unexpected key and a wrong shape each raise, for every tensor and module.

    A forgiving `load_state_dict` leaves random weights where a renamed layer should have been.
    """
    model = ctx.build()
    state = model.state_dict()
    # torch itself forgives a missing count of batches: files from before 2018 have none.
    names = [n for n, t in state.items() if isinstance(t, Tensor) and not n.endswith("num_batches_tracked")]
    modules = [f"{n}." if n else "" for n, _ in model.named_modules()]

    def changed(drop: list[str], add: dict[str, Tensor]) -> dict[str, Tensor]:
        altered = copy.copy(state)  # unlike dict(state) it keeps the version metadata that layers look at
        for name in drop:
            del altered[name]
        altered.update(add)
        return altered

    extra = {f"{prefix}conformance_extra": torch.zeros(1) for prefix in modules}
    # First all faults at once, which the error lists; then alone those that it does not mention.
    text = _load_error(ctx.build(), changed(names, extra))
    for name in (n for n in names if n not in text):
        expect(
            bool(_load_error(ctx.build(), changed([name], {}))),
            f"load_state_dict accepts a state dict without {name!r}: its value stays random. Let strict=True raise",
        )
    for name in (n for n in extra if n not in text):
        expect(
            bool(_load_error(ctx.build(), changed([], {name: extra[name]}))),
            f"load_state_dict accepts the unexpected key {name!r}: a renamed layer goes unnoticed. Let strict raise",
        )
    wrong = {n: torch.zeros(*state[n].shape, 2) for n in names}
    text = _load_error(ctx.build(), changed([], wrong))
    for name in (n for n in names if n not in text):
        expect(
            bool(_load_error(ctx.build(), changed([], {name: wrong[name]}))),
            f"load_state_dict accepts {name!r} of shape {list(wrong[name].shape)}, expected {list(state[name].shape)}",
        )
    if names:
        first = names[0]
        returned = ctx.build().load_state_dict(changed([first], {"conformance_extra": torch.zeros(1)}), strict=False)
        found = getattr(returned, "missing_keys", None), getattr(returned, "unexpected_keys", None)
        expect(
            found == ([first], ["conformance_extra"]),
            f"load_state_dict(strict=False) without {first!r} and with 'conformance_extra' returned {returned!r}, "
            "expected torch's own record of missing_keys and unexpected_keys",
        )


@check()
def check_state_dict_contract(ctx: Context) -> None:
    """The state dict shares the network's memory and, within another module, prefixes its keys."""
    model = ctx.build()
    held = {n: t.untyped_storage().data_ptr() for n, t in [*model.named_parameters(), *model.named_buffers()]}
    copied = [
        n
        for n, t in model.state_dict().items()
        if isinstance(t, Tensor) and n in held and t.untyped_storage().data_ptr() != held[n]
    ]
    expect(not copied, f"{listing(copied)} of the state dict are copies: what loads in place, as FSDP does, is lost")
    with blame("state_dict of a module that holds the network", "Take and pass on destination, prefix and keep_vars"):
        saved = nn.ModuleDict({"part": model}).state_dict()
    wanted = [f"part.{name}" for name in model.state_dict()]
    expect(
        list(saved) == wanted,
        f"a module that holds the network as 'part' saves {listing(sorted(set(saved) - set(wanted)))} and misses "
        f"{listing(sorted(set(wanted) - set(saved)))}: state_dict or a hook on it ignores the prefix",
    )
    outer = nn.ModuleDict({"part": ctx.build(seed=1)})
    with blame("load_state_dict of a module that holds the network"):
        outer.load_state_dict(saved)
    wrong = [n for n, t in outer.state_dict().items() if isinstance(t, Tensor) and not _same(t, saved[n])]
    expect(not wrong, f"{listing(wrong)} are not loaded where the network is a part of another module")


def _load_error(model: nn.Module, state: dict[str, Tensor]) -> str:
    """The text of the error that loading raises, or nothing."""
    try:
        model.load_state_dict(state)
    except Exception as error:  # a refusal of any kind is right
        return f"{type(error).__name__}: {error}"
    return ""


@check(requires=EVAL)
def check_load_assign(ctx: Context) -> Measurement | None:
    """`load_state_dict(assign=True)` gives an equal network, and leaves no tensor on the meta device.

    It replaces the parameters instead of copying into them, as loading onto the meta device does: a tensor that
    `__init__` kept under another name then stays behind.
    """
    source, target = ctx.eval_model(), ctx.eval_model(seed=1)
    with blame("load_state_dict(assign=True)"):
        target.load_state_dict({n: t.clone() for n, t in source.state_dict().items()}, assign=True)
    left: list[str] = []
    with contextlib.suppress(Exception):  # check_device_context reports a network that cannot be built on meta
        with torch.device("meta"):
            empty = ctx.build()
        empty.load_state_dict(source.state_dict(), assign=True)
        left = [n for n, t in empty.state_dict().items() if isinstance(t, Tensor) and t.is_meta]
    expect(
        not left, f"built on meta and loaded with assign=True, {listing(left)} stay on meta: assign is not passed on"
    )
    return _same_function(ctx, source, target, "after load_state_dict(assign=True), the eval output")


@check(requires=GATES, core=True)
def check_safetensors(ctx: Context) -> Measurement | None:
    """The state dict round-trips through safetensors: contiguous tensors, no undeclared shared memory.

    Tensors that share memory are refused by safetensors, and saved twice or tied differently by others.
    """
    from safetensors.torch import load_file, save_file

    model = ctx.build()
    ctx.loss(ctx.outputs(model.train(), ctx.input(dtype=torch.float32).cpu())).backward()
    state = model.state_dict()
    objects = [n for n, value in state.items() if not isinstance(value, Tensor)]
    expect(not objects, f"the state dict holds other things than tensors: {listing(objects)}")
    groups: dict[int, list[str]] = {}
    for name, tensor in state.items():
        if tensor.numel():
            groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    tied = [set(group) for group in ctx.capabilities.tied]
    shared = [g for g in groups.values() if len(g) > 1 and not any(set(g) <= t for t in tied)]
    expect(
        not shared,
        f"entries of the state dict share memory: {listing([' = '.join(g) for g in shared])}. Register a tensor once, "
        "or declare the group as 'tied'",
        len(shared),
        0,
    )
    strided = [n for n, t in state.items() if not t.is_contiguous()]
    expect(not strided, f"{listing(strided)} are not contiguous, and safetensors refuses them: call contiguous() once")
    # One name of each tied group is kept, as every writer of safetensors does.
    kept = {g[0]: state[g[0]] for g in groups.values()} | {n: t for n, t in state.items() if not t.numel()}
    path = ctx.tmp_path / "model.safetensors"
    with blame("safetensors.torch.save_file of the state dict"):
        save_file(kept, path)
    loaded = load_file(path)
    restored = {
        n: loaded[next(g[0] for g in groups.values() if n in g)] if n not in loaded else loaded[n] for n in state
    }
    other = ctx.build(seed=1)
    other.load_state_dict(restored)
    model, other = model.to(ctx.device, torch.float64), other.to(ctx.device, torch.float64)
    return _same_function(ctx, model, other, "after a round trip through safetensors, the eval output")
