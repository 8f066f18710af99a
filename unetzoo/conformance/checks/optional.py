"""Optional interfaces: a new head, a frozen encoder and the list of features do what they say, where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import expect
from unetzoo.conformance.measuring.tracing import blame, listing
from unetzoo.errors import ConfigError


@check(devices="both", core=True)
def check_reset_classifier(ctx: Context) -> None:
    """A new head has the requested number of classes, and the network's dtype, device and mode; the rest is unchanged.

    A head that is made in float32 on the CPU fails in the next forward of a network that is elsewhere; one that is made
    in a frozen network must learn all the same.
    """
    name = _method(ctx, "reset_head", ("reset_head", "reset_classifier"))
    for classes in (5, 1):
        model = ctx.eval_model()
        model.requires_grad_(False)
        before = {n: (p, p.detach().clone()) for n, p in model.named_parameters()}
        buffers = {n: b.clone() for n, b in model.named_buffers()}
        with blame(f"{name}({classes}) on a frozen float64 network in eval mode"), _refusable(ctx, "reset_head"):
            getattr(model, name)(classes)
        case = f"after {name}({classes})"
        moved = [n for n, b in model.named_buffers() if n in buffers and not torch.equal(b, buffers[n])]
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        wrong = [n for n, t in tensors.items() if t.is_floating_point() and t.dtype != torch.float64]
        expect(
            not wrong, f"{case} of a float64 network {listing(wrong)} are not float64: create them like the old head"
        )
        wrong = [n for n, t in tensors.items() if t.device != ctx.device]
        expect(not wrong, f"{case} on {ctx.device} {listing(wrong)} are elsewhere: create them like the old head")
        wrong, x = [n for n, m in model.named_modules() if m.training], ctx.input()
        with torch.no_grad(), blame(f"a forward in eval mode {case}"):
            same = torch.equal(ctx.output(model, x), ctx.output(model.eval(), x))  # a convolution has no modes
        expect(same, f"{case} in eval mode {listing(wrong)} are in training mode, and the output shows it")
        _outputs_fit(ctx, model, classes, case)
        _body_kept(ctx, model, before, moved, classes, case)


def _outputs_fit(ctx: Context, model: nn.Module, classes: int, case: str) -> None:
    declared = getattr(model, "num_classes", classes)
    expect(declared == classes, f"{case} the attribute num_classes is {declared!r}, expected {classes}")
    for mode in (True, False):
        with blame(f"a forward in {'training' if mode else 'eval'} mode {case}"):
            outputs = ctx.outputs(model.train(mode), ctx.input())
        for out in outputs:
            shape, dtype = list(out.shape), out.dtype
            expect(shape[1] == classes, f"{case} the output has shape {shape}, expected {classes} channels")
            expect(dtype == torch.float64, f"{case} of a float64 network the output is {dtype}")


def _body_kept(
    ctx: Context,
    model: nn.Module,
    before: dict[str, tuple[nn.Parameter, Tensor]],
    moved: list[str],
    classes: int,
    case: str,
) -> None:
    """The head is new and learns; everything else is the same tensors with the same values, still frozen."""
    other = {n: p.shape for n, p in ctx.build(num_classes=classes + 1).named_parameters()}
    now = dict(model.named_parameters())
    head = {n.partition(".")[0] for n, p in now.items() if n in other and other[n] != p.shape}
    body = {n: p for n, p in now.items() if n.partition(".")[0] not in head}
    lost = [n for n in before if n.partition(".")[0] not in head and n not in now]
    expect(not lost, f"{case} parameters outside of the head are gone: {listing(lost)}")
    kept = {n: p for n, (p, value) in before.items() if torch.equal(p, value)}
    changed = [n for n, p in body.items() if p is not kept.get(n)]
    expect(
        not changed, f"{case} parameters outside of the head ({', '.join(sorted(head))}) changed: {listing(changed)}"
    )
    moved = [n for n in moved if n.partition(".")[0] not in head]
    expect(not moved, f"{case} buffers outside of the head ({', '.join(sorted(head))}) changed: {listing(moved)}")
    thawed = [n for n, p in body.items() if p.requires_grad]
    expect(not thawed, f"{case} frozen parameters outside of the head require grad: {listing(thawed)}")
    new = [n for n, p in now.items() if n not in before or p is not before[n][0]]
    expect(bool(new), f"{case} no parameter is new: the head was not replaced")
    still = [n for n in new if not now[n].requires_grad and n not in ctx.capabilities.frozen]
    expect(not still, f"{case} the new parameters {listing(still)} do not require grad")


def _method(ctx: Context, capability: str, names: Sequence[str]) -> str:
    """The name of the first of these methods that the network has. Raises NotApplicable where it has none."""
    model = ctx.build()
    found = next((n for n in names if callable(getattr(model, n, None))), None)
    expect(
        found is not None or capability not in ctx.capabilities.supports,
        f"declares {capability}, but has none of {', '.join(names)}",
    )
    ctx.require(found, f"the network has no {names[0]}")
    assert found is not None
    return found


@contextmanager
def _refusable(ctx: Context, capability: str) -> Iterator[None]:
    """Let the network refuse what it does not declare: a base class has the method for all."""
    try:
        yield
    except (NotImplementedError, ConfigError) as error:
        declared = "supports" in ctx.capabilities.declared and capability in ctx.capabilities.supports
        ctx.require(declared, f"{capability} is not declared, and refused: {error}")
        raise


@check(requires=BACKWARD, devices="both", core=True)
def check_freeze_encoder(ctx: Context) -> None:
    """A frozen encoder gets no gradient and keeps its statistics in training mode, until it is unfrozen.

    Running statistics of a frozen encoder that drift with every batch undo its pre-training, and `train()` is what
    every loop calls after the freeze. Evaluation mode reaches it as it does the rest, and freezing does not end it.
    """
    name = _method(ctx, "freeze_encoder", ("freeze_encoder",))
    model = ctx.train_model(dtype=torch.float32)
    learned = {n for n, p in model.named_parameters() if p.requires_grad}
    _moving_buffers(ctx, model)
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    with _refusable(ctx, "freeze_encoder"):
        getattr(model, name)()
    model.train()
    frozen = {n for n, p in model.named_parameters() if n in learned and not p.requires_grad}
    expect(bool(frozen), "freeze_encoder() froze no parameter")
    expect(frozen != learned, "freeze_encoder() froze every parameter: nothing is left to train")
    half = [name for name, m in model.named_modules() if len(own := _own(name, m) & learned) > len(own & frozen) > 0]
    expect(not half, f"freeze_encoder() froze some of the parameters of {listing(half)} and left the others to learn")
    inside = _inside(model, frozen)
    still = _moving_buffers(ctx, model)
    drifted = [n for n in still if n.rpartition(".")[0] in inside]
    expect(
        not drifted,
        f"after freeze_encoder() and train() a training forward changes {listing(drifted)}: keep the encoder in eval "
        "mode by overriding train()",
        len(drifted),
        0,
    )
    got = [n for n, p in model.named_parameters() if n in frozen and p.grad is not None]
    expect(not got, f"after freeze_encoder() {listing(got)} get a gradient")
    starved = [n for n, p in model.named_parameters() if n in reached - frozen and p.grad is None]
    expect(not starved, f"after freeze_encoder() {listing(starved)} get no gradient, though they are not frozen")
    model.eval()
    lively = [n for n, m in model.named_modules() if m.training]
    expect(
        not lively,
        f"after freeze_encoder() and eval() {listing(lively)} are still in training mode, and dropout in them goes on: "
        "let train(False) reach every module",
    )
    if callable(getattr(model, "unfreeze_encoder", None)):
        model.unfreeze_encoder()  # type: ignore[operator]
        woken = [n for n, m in model.named_modules() if m.training]
        expect(not woken, f"unfreeze_encoder() in eval mode puts {listing(woken)} in training mode")
        model.train()
        left = [n for n, p in model.named_parameters() if n in learned and not p.requires_grad]
        expect(not left, f"after unfreeze_encoder() {listing(left)} are still frozen")
        fixed = [n for n, m in model.named_modules() if not m.training]
        expect(not fixed, f"after unfreeze_encoder() and train() {listing(fixed)} are still in eval mode")


def _own(name: str, module: nn.Module) -> set[str]:
    """Names of the parameters that the module holds itself."""
    return {f"{name}.{n}".lstrip(".") for n, _ in module.named_parameters(recurse=False)}


def _inside(model: nn.Module, frozen: set[str]) -> set[str]:
    """Names of the modules under which every parameter is frozen, and of the encoder and all within it."""
    inside = set()
    for name, module in model.named_modules():
        own = [f"{name}.{n}" if name else n for n, _ in module.named_parameters()]
        if own and all(n in frozen for n in own):
            inside |= {f"{name}.{n}" if n else name for n, _ in module.named_modules()}
    return inside


def _moving_buffers(ctx: Context, model: nn.Module) -> list[str]:
    """Buffers that a training step changes; the gradients of the step are left in place."""
    before = {n: b.clone() for n, b in model.named_buffers()}
    ctx.loss(ctx.outputs(model, ctx.input(dtype=torch.float32))).backward()
    return [n for n, b in model.named_buffers() if not torch.equal(b, before[n])]


@check(core=True)
@torch.no_grad()
def check_features(ctx: Context) -> None:
    """The encoder's features have the channels and strides that it declares.

    Decoders, detection heads and feature pyramids are built from this list.
    """
    model = ctx.eval_model(dtype=torch.float32)
    encoder = getattr(model, "encoder", None)
    declared: list[tuple[int, int | Sequence[int]]] = list(ctx.capabilities.features or _declared(encoder))
    ctx.require(declared, "declares no features: neither the capability nor the encoder's channels and strides")
    expect(isinstance(encoder, nn.Module), "declares features, but has no module called encoder")
    assert isinstance(encoder, nn.Module)
    ctx.require(not any(ctx.capabilities.margin), "the network crops its features, so that they have no stride")
    strides = [s if isinstance(s, Sequence) else (s,) * ctx.capabilities.ndim for _, s in declared]
    coarsest = max(max(s) for s in strides)
    size = ctx.capabilities.legal((2 * coarsest,) * ctx.capabilities.ndim)
    sizes = (size, ctx.capabilities.legal(tuple(s + 2 * coarsest for s in size)))
    small, large = (_measure_features(ctx, model, encoder, size) for size in sizes)
    expect(
        len(small) == len(declared),
        f"the encoder gives {len(small)} features, {len(declared)} declared: {small} against {declared}",
    )
    for level, ((channels, at_small), (_, at_large)) in enumerate(zip(small, large, strict=True)):
        said = declared[level][0]
        expect(channels == said, f"feature {level} has {channels} channels, {said} declared")
        # By how they grow, since a border that the encoder pads with adds the same to every size.
        steps = [(t - s, g - f) for s, t, f, g in zip(*sizes, at_small, at_large, strict=True)]
        if ctx.capabilities.fixed_size is not None:
            steps = list(zip(size, at_small, strict=True))
        near = [abs(pixels / d - found) < 1 for (pixels, found), d in zip(steps, strides[level], strict=True)]
        expect(
            all(near),
            f"feature {level} of inputs of {sizes[0]} and {sizes[1]} measures {at_small} and {at_large}, not as the "
            f"declared stride {tuple(strides[level])} says",
        )


def _measure_features(
    ctx: Context, model: nn.Module, encoder: nn.Module, size: tuple[int, ...]
) -> list[tuple[int, tuple[int, ...]]]:
    """(channels, spatial size) of each feature that the encoder gives for an input of this size."""
    results: list[object] = []
    handle = encoder.register_forward_hook(lambda _, __, result: results.append(result))
    ctx.outputs(model, ctx.input(size=size, dtype=torch.float32))
    handle.remove()
    ctx.require(results, "the encoder is not called as a module, so its features are not seen")
    return [(t.shape[1], tuple(t.shape[2:])) for t in tree_leaves(results[0]) if isinstance(t, Tensor)]


def _declared(encoder: object) -> list[tuple[int, int | Sequence[int]]]:
    """(channels, stride) of each feature as the encoder lists them, here or in timm's way."""
    channels, strides = getattr(encoder, "channels", None), getattr(encoder, "strides", None)
    if isinstance(channels, Sequence) and isinstance(strides, Sequence):
        return list(zip(channels, strides, strict=True))
    info = getattr(encoder, "feature_info", None)
    if callable(getattr(info, "channels", None)) and callable(getattr(info, "reduction", None)):
        return list(zip(info.channels(), info.reduction(), strict=True))  # type: ignore[union-attr]
    return []
