"""Training and evaluation mode: what differs between them, and what may not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context, warm_statistics
from unetzoo.conformance.definition.outcomes import Measurement, agree, expect
from unetzoo.conformance.measuring.shapes import REFUSALS
from unetzoo.conformance.measuring.stochastic import repeats
from unetzoo.conformance.measuring.tracing import listing


@check(requires=EVAL, core=True)
def check_norm_stats(ctx: Context) -> None:
    """A training forward updates all running statistics; an eval forward changes no buffer."""
    model = ctx.train_model(dtype=torch.float32)
    before = {name: b.clone() for name, b in model.named_buffers()}
    ctx.outputs(model, 2 * ctx.input(dtype=torch.float32) + 1)
    moved = {name: b.clone() for name, b in model.named_buffers()}
    # What has statistics, no parameters and is not torch's is meant to be fixed, as in detection backbones.
    fixed = {
        name
        for name, module in model.named_modules()
        if not isinstance(module, nn.modules.batchnorm._NormBase) and not any(True for _ in module.parameters())
    }
    forgetful = [
        f"{name} ({module.momentum})"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats
        if module.momentum is not None and module.momentum > 0.5
    ]
    expect(
        not forgetful,
        f"the momentum of {forgetful[:4]} keeps little of the past: torch weights the new batch by it, TensorFlow and "
        "Keras the old statistics. Set 1 - momentum",
    )
    names = [name.rpartition(".") for name in before]
    tracked = [f"{m}{dot}{n}" for m, dot, n in names if n in ("running_mean", "running_var") and m not in fixed]
    still = [n for n in tracked if n in moved and torch.equal(before[n], moved[n])]
    expect(
        not still,
        f"a training forward left {still[:4]} as they were: momentum 0, a layer held in eval mode, or never called",
    )
    if _runs(ctx, model, ctx.input(1, seed=2, dtype=torch.float32)):
        again = dict(model.named_buffers())
        still = [n for n in tracked if n in again and torch.equal(again[n], moved[n])]
        expect(not still, f"a training forward of one image left {still[:4]} as they were: it is normalized otherwise")
    moved = {name: b.clone() for name, b in model.named_buffers()}
    model.eval()
    ctx.outputs(model, ctx.input(seed=3, dtype=torch.float32))
    drifted = [n for n, b in model.named_buffers() if n in moved and not torch.equal(b, moved[n])]
    expect(not drifted, f"an eval forward changed {drifted[:4]}: the layer is held in training mode")


def _runs(ctx: Context, model: nn.Module, x: Tensor) -> bool:
    """Whether a forward runs; check_batch_one_train reports one of a single image that does not."""
    try:
        ctx.outputs(model, x)
    except REFUSALS:
        return False
    return True


@check(requires=EVAL, level="should")
def check_train_eval_consistency(ctx: Context) -> Measurement | None:
    """With statistics of one batch and dropout off, training and eval mode agree on that batch.

    To 1e-6 where batch normalization is torch's, once its running variance, which torch estimates without bias, is put
    back to that of the batch; and where there are no running statistics at all. Other layers with running statistics
    take them in ways of their own: there the modes may differ by half a standard deviation of the logits.
    """
    model = ctx.train_model(perturb=True)
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            for attribute in ("p", "drop_prob"):
                if isinstance(getattr(module, attribute, None), float):
                    setattr(module, attribute, 0.0)
    x = ctx.input(4)
    tracked = {n: m for n, m in model.named_modules() if getattr(m, "running_mean", None) is not None}
    shared = [n for n in tracked if any(f"{n}.".startswith(f"{reused}.") for reused in ctx.capabilities.reused)]
    ctx.require(not shared, f"declared as reused: {listing(shared)}, whose statistics are of several places")
    with torch.no_grad():
        ctx.require(repeats(ctx, model, x), "training mode draws random numbers that no dropout module holds")
        trained = ctx.output(model, x)
        _take_statistics(model, x)
        model.eval()
        out = ctx.output(model, x)
    bound = 1e-6 if all(map(_is_plain_batch_norm, tracked.values())) else 0.5
    measured = float((out - trained).abs().mean() / trained.std().clamp(min=1e-12))
    expect(
        measured < bound,
        f"training and eval mode differ by {measured:.3g} standard deviations of the logits after the statistics "
        "were taken "
        f"from the same batch, expected less than {bound}: one normalization layer serves several places, eps "
        "differ, or another path is taken in one of the modes",
        measured,
        bound,
    )
    return Measurement(measured, bound)


def _is_plain_batch_norm(module: nn.Module) -> bool:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return isinstance(module, norms) and type(module).forward is nn.modules.batchnorm._BatchNorm.forward


def _take_statistics(model: nn.Module, x: Tensor) -> None:
    """Set running statistics to those of `x`, and torch's running variances to those of the batch itself."""
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        counts[module] = args[0].numel() // args[0].shape[1]

    handles = [m.register_forward_pre_hook(count) for m in model.modules() if _is_plain_batch_norm(m)]
    warm_statistics(model, x, floor=0.0)
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        for module, n in counts.items():
            if isinstance(module.running_var, Tensor):
                module.running_var.mul_((n - 1) / n)


@check(core=True)
def check_mode_flags(ctx: Context) -> None:
    """`train()` and `eval()` return the network and reach every submodule; a forward changes no mode."""
    model = ctx.build().to(ctx.device)
    x = ctx.input(dtype=torch.float32)
    shapes: dict[bool, list[torch.Size]] = {}
    switches: dict[str, tuple[bool, Callable[[], nn.Module]]] = {
        "train()": (True, model.train),
        "eval()": (False, model.eval),
        "train(True)": (True, functools.partial(model.train, True)),
        "train(False)": (False, functools.partial(model.train, False)),
    }
    for name, (mode, switch) in switches.items():
        returned = switch()
        expect(
            returned is model, f"{name} returned {type(returned).__name__}, expected the network itself: `return self`"
        )
        _expect_flags(model, mode, f"after {name}")
        trained = {n: p.requires_grad for n, p in model.named_parameters()}
        found = [out.shape for out in ctx.outputs(model, x)]
        _expect_flags(model, mode, f"after a forward in {'training' if mode else 'eval'} mode")
        switched = [n for n, p in model.named_parameters() if p.requires_grad != trained.get(n, p.requires_grad)]
        expect(not switched, f"a forward after {name} switched requires_grad of {listing(switched)}")
        before = shapes.setdefault(mode, found)
        expect(
            found == before,
            f"after {name} the outputs are {[list(s) for s in found]}, before {[list(s) for s in before]}: something "
            "hangs on another call. Override train alone, which eval calls, or look at self.training",
        )
    if _runs(ctx, model.train(), x[:1]):
        _expect_flags(model, True, "after a training forward of one image")
    # Frozen normalization and dropout that samples are set layer by layer.
    leaves = [m for m in model.modules() if not list(m.children())]
    for mode in (True, False):
        model.train(mode)
        for leaf in leaves:
            leaf.train(not mode)
        kept = {name: m.training for name, m in model.named_modules()}
        with torch.no_grad():
            ctx.outputs(model, x)
        moved = [name for name, m in model.named_modules() if m.training != kept[name]]
        call = "eval()" if mode else "train()"
        hint = "the mode of each layer is the user's to choose"
        expect(not moved, f"a forward took back {call} of {listing(moved)}: {hint}")


def _expect_flags(model: nn.Module, mode: bool, when: str) -> None:
    wrong = [name or "the network" for name, m in model.named_modules() if m.training != mode]
    expect(not wrong, f"{when}, training={not mode} on {wrong[:4]}, expected training={mode} everywhere")


@check()
def check_stochastic_honest(ctx: Context) -> Measurement | None:
    """Training mode is random exactly where dropout is declared or present."""
    x = ctx.input()
    model = ctx.train_model()
    state = copy.deepcopy(model.state_dict())
    outputs = []
    for seed in range(6):
        model.load_state_dict(state)
        torch.manual_seed(100 + seed)
        with torch.no_grad():
            outputs.append(ctx.output(model, x))
    drawn = any(not torch.equal(out, outputs[0]) for out in outputs[1:])
    # Behind a layer that begins at zero dropout shows in the gradients alone.
    random = drawn or _gradients_differ(ctx, model, x)
    if drawn:
        torch.manual_seed(100)
        again = []
        for _ in range(6):
            model.load_state_dict(state)
            with torch.no_grad():
                again.append(ctx.output(model, x))
        expect(
            any(not torch.equal(out, again[0]) for out in again[1:]),
            "training forwards differ under six seeds, yet six in a row are equal: the random generator is put back, "
            "and each step draws the same mask",
        )
    active = [name for name, m in model.named_modules() if _drops(m)]
    if "stochastic_train" in ctx.capabilities.declared and not ctx.capabilities.stochastic_train:
        return agree(
            outputs[1], outputs[0], 0.0, "a training forward under another seed", "Undeclared noise or dropout"
        )
    expect(
        random
        or not (active or ("stochastic_train" in ctx.capabilities.declared and ctx.capabilities.stochastic_train)),
        f"training forwards under six seeds are equal, though {active[:4] or 'dropout is declared'}: it never fires",
    )
    return None


def _gradients_differ(ctx: Context, model: nn.Module, x: Tensor) -> bool:
    found = []
    for seed in (1, 2):
        model.zero_grad(set_to_none=True)
        torch.manual_seed(seed)
        ctx.loss(ctx.outputs(model, x)).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    return any(not torch.equal(a, b) for a, b in zip(*found, strict=True))


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) and 0 < module.p < 1


@check()
def check_dropout_axes(ctx: Context) -> None:
    """Channel dropout gets batches of the dimension that it is made for.

    torch takes a map of one axis fewer for a single sample: Dropout3d on a batch of images drops whole samples.
    """
    axes = {nn.Dropout1d: 3, nn.Dropout2d: 4, nn.Dropout3d: 5}
    wrong: list[str] = []
    model = ctx.train_model(dtype=torch.float32)

    def look(name: str, expected: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if args[0].dim() != expected:
                wrong.append(f"{name} ({type(module).__name__} of a batch with {args[0].dim()} axes)")

        return hook

    layers = [(n, m, axes[type(m)]) for n, m in model.named_modules() if type(m) in axes]
    ctx.require(layers, "the network has no dropout of channels")
    for name, module, expected in layers:
        module.register_forward_pre_hook(look(name, expected))
    ctx.outputs(model, ctx.input(dtype=torch.float32))
    expect(
        not wrong, f"{listing(wrong)}: it drops whole samples or pixels. Take the dropout of the network's dimension"
    )
