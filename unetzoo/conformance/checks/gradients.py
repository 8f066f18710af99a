"""Gradients: they exist, are finite, are right, and belong to the parameters that an optimizer sees."""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, expect, worst
from unetzoo.conformance.measuring.sandbox import GlobalState
from unetzoo.conformance.measuring.tracing import brief, listing, other_floats


@check(devices="both", core=True)
def check_backward_runs(ctx: Context) -> None:
    """The backward pass of a training step reaches the input from every output, with finite gradients.

    Operations that overwrite a tensor which autograd still needs, or that detach an output, show only here.
    """
    _finite_backward(ctx, ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32), "noise, training mode")


@check(requires=BACKWARD, devices="both", core=True)
def check_grads_finite(ctx: Context) -> None:
    """Gradients are finite in eval mode, and for blank, constant and tiny inputs.

    Padding tiles are blank; the derivative of a square root, a norm or a standard deviation is infinite there.
    Saliency maps and frozen-statistics fine-tuning go backwards through the eval mode.
    """
    noise = ctx.input(dtype=torch.float32)
    inputs = {
        "noise": noise,
        "zeros": torch.zeros_like(noise),
        "ones": torch.ones_like(noise),
        "1e-6 noise": 1e-6 * noise,
    }
    models = {
        "training": ctx.train_model(dtype=torch.float32, perturb=True),
        "eval": ctx.eval_model(dtype=torch.float32),
    }
    for name, x in inputs.items():
        for mode, model in models.items():
            model.zero_grad(set_to_none=True)
            _finite_backward(ctx, model, x, f"{name}, {mode} mode")


def _finite_backward(ctx: Context, model: nn.Module, x: Tensor, case: str) -> None:
    x = x.clone().requires_grad_()
    outputs = ctx.outputs(model, x)
    for index, out in enumerate(outputs):
        expect(
            out.requires_grad,
            f"output {index} of {len(outputs)} ({case}) does not require grad: it is detached or under no_grad",
        )
    try:
        ctx.loss(outputs).backward()
    except RuntimeError as error:
        raise CheckFailed(f"backward ({case}) raised {brief(error)}. {_origin(ctx, model, x)}") from error
    expect(x.grad is not None, f"the input ({case}) receives no gradient: something detaches it before the first layer")
    tensors = {"the input": x} | {f"parameter {n!r}": p for n, p in model.named_parameters()}
    broken = [name for name, t in tensors.items() if t.grad is not None and not t.grad.isfinite().all()]
    expect(
        not broken,
        f"the gradient ({case}) of {listing(broken)} is NaN or infinite. Look for sqrt, norm, std, log or a division "
        "that meets 0 in forward: its derivative needs an epsilon inside",
    )


def _origin(ctx: Context, model: nn.Module, x: Tensor) -> str:
    """The line of forward whose backward fails, from a second run in anomaly mode."""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.set_detect_anomaly(True, check_nan=False):
        warnings.simplefilter("always")
        with contextlib.suppress(RuntimeError):
            ctx.loss(ctx.outputs(model, x)).backward()
    traces = [str(w.message) for w in caught if "Traceback of forward call" in str(w.message)]
    frames = [line.strip() for line in traces[-1].splitlines() if line.strip()] if traces else []
    own = [i for i, line in enumerate(frames) if line.startswith("File") and "/torch/" not in line]
    return f"The operation was recorded at {' '.join(frames[own[-1] : own[-1] + 2])}" if own else ""


@check(core=True)
def check_param_grads(ctx: Context) -> None:
    """Every parameter requires a gradient (or is declared frozen) and receives one in every training step.

    A parameter that is unused, or used in some steps only, stops DistributedDataParallel with an error, counts in the
    model's size for nothing, and is decayed but never trained.
    """
    model = ctx.train_model()
    parameters = {n: p for n, p in model.named_parameters() if n not in ctx.capabilities.frozen}
    off = [n for n, p in parameters.items() if not p.requires_grad]
    expect(not off, f"requires_grad is off as built for {listing(off)}; declare them as 'frozen' if that is intended")
    missing = dict.fromkeys(parameters, 0)
    # Four steps show a parameter that is not used; one that is skipped at random needs more, but then chance is drawn.
    steps = done = 4
    for step in range(32):
        if step == steps:
            break
        state = GlobalState.capture()
        model.zero_grad(set_to_none=True)
        ctx.loss(ctx.outputs(model, ctx.input(seed=step)), seed=step).backward()
        steps = 32 if state.rng_changes() else steps
        done = step + 1
        for name, p in parameters.items():
            missing[name] += p.grad is None
    named = [f"{n} {list(parameters[n].shape)} (in {k} of {done} steps)" for n, k in missing.items() if k]
    numel = sum(parameters[n].numel() for n, k in missing.items() if k)
    total = sum(p.numel() for p in parameters.values())
    expect(
        not named,
        f"{len(named)} of {len(parameters)} parameter tensors ({numel:,} of {total:,} numbers) received no gradient in "
        f"training mode: {listing(named)}. Forward does not use them, uses them only sometimes, or detaches their "
        "result; remove what is unused, and multiply by 0 instead of skipping",
        len(named),
        0,
    )


@check(requires=BACKWARD, core=True)
def check_param_grads_nonzero(ctx: Context) -> Measurement:
    """No weight's gradient is identically zero once the weights have left their initial values.

    A gradient that is multiplied by zero, or that stops at a dead activation, looks healthy to `grad is not None`.
    Biases and scales are left out: a bias in front of a normalization rightly has no gradient. A weight is confirmed
    at twice the size: attention over a single token has none either. None at all is for check_param_grads.
    Of convolutions and linear layers the channels count: a skip of zeros, or features that nothing reads. A ReLU that
    never fires is another one with other weights: what counts is a sixteenth of the channels, two at least, under eight
    sets of weights.
    """
    weights: dict[str, float] = {}
    channels: dict[tuple[str, int], Tensor] = {}
    for seed, factor in enumerate((1, 2, 1, 1, 1, 1, 1, 1)):
        size = ctx.capabilities.legal(tuple(factor * s for s in ctx.size))
        for training in (True, False):
            model = ctx.train_model(perturb=True, seed=seed) if training else ctx.eval_model(seed=seed)
            fed = _fed_by_constants(model)
            x = ctx.input(size=size, seed=factor).requires_grad_()
            ctx.loss(ctx.outputs(model, x), seed=factor).backward()
            for name, p in model.named_parameters():
                if p.dim() >= 2 and p.grad is not None:
                    weights[name] = max(weights.get(name, 0.0), float(p.grad.abs().max()))
            _note_channels(model, channels, fed)
        floor = 1e-14 * max(weights.values(), default=0.0)
        dead = [name for name, norm in weights.items() if not norm > floor]
        silent = {at: largest <= floor for at, largest in channels.items() if at[0] not in dead}
        silent = {at: where for at, where in silent.items() if int(where.sum()) >= max(2, len(where) / 16)}
        if not silent and (not dead or seed):
            break
    expect(
        not dead,
        f"the gradient of {listing(dead)} is zero in training and in eval mode, with every weight perturbed. Its path "
        "to the loss is multiplied by zero, detached, or ends in an activation that never fires",
        len(dead),
        0,
    )
    found = [
        f"{name} along axis {axis} (channels {where.nonzero().flatten().tolist()[:8]} of {len(where)})"
        for (name, axis), where in silent.items()
    ]
    expect(
        not found,
        f"whole channels get no gradient, whatever the weights: {listing(found)}. What they read is always zero (a "
        "skip that is replaced by zeros), or nothing reads what they compute",
        len(found),
        0,
    )
    return Measurement(0, 0)


def _fed_by_constants(model: nn.Module) -> set[nn.Module]:
    """To be filled by the next forward with the layers whose input needs no gradient though the image does.

    Embeddings of a time step or of coordinates may well be zero in some channels.
    """
    found: set[nn.Module] = set()

    def look(module: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor) and not args[0].requires_grad:
            found.add(module)

    for module in model.modules():
        module.register_forward_pre_hook(look)
    return found


def _note_channels(model: nn.Module, largest: dict[tuple[str, int], Tensor], constant: set[nn.Module]) -> None:
    """Keep the largest gradient of each channel, along both axes of every convolution's and linear layer's weight."""
    for name, module in model.named_modules():
        if module in constant:
            continue
        weight = module._parameters.get("weight")
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and weight is not None and weight.grad is not None:
            for axis in (0, 1):
                sizes = weight.grad.abs().transpose(0, axis).flatten(1).amax(1)
                at = (f"{name}.weight".lstrip("."), axis)
                largest[at] = torch.maximum(largest[at], sizes) if at in largest else sizes


@check(requires=BACKWARD)
def check_gradcheck(ctx: Context) -> Measurement | None:
    """Gradients agree with finite differences along random directions.

    A wrong custom backward, or a path hidden by `detach` or `.data`, trains, but towards the wrong place. In
    training mode the bound is wider: spectral normalization rightly holds its power iteration constant. So it is where
    a part computes in float32, whose rounding is no small part of so small differences.
    """
    ctx.require(not ctx.capabilities.surrogate_gradients, "surrogate_gradients is declared")
    bound = 1e-2 if other_floats(ctx.eval_model(), ctx.input()) else 1e-4
    return worst([_gradcheck(ctx, training=False, bound=bound), _gradcheck(ctx, training=True, bound=5e-2)])


def _gradcheck(ctx: Context, *, training: bool, bound: float) -> Measurement:
    model = ctx.eval_model()
    model.train(training)
    x = ctx.input().requires_grad_()
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    everything: dict[str, Tensor] = {"the input": x} | weights
    worst_error = 0.0
    groups: dict[str, dict[str, Tensor]] = {"the input": {"the input": x}, "the parameters": dict(weights)}
    for what, leaves in groups.items():
        # Kinks of ReLU and max pooling spoil a direction now and then, a wrong backward spoils them all: one bad
        # direction of three is let pass.
        error = _direction_error(ctx, model, x, leaves, 0)
        if not error <= bound:
            error = max(_direction_error(ctx, model, x, leaves, seed) for seed in (1, 2))
        worst_error = max(worst_error, error)
        if not error <= bound:
            limit = max(bound, 1e-3)
            wrong = [n for n, leaf in everything.items() if not _direction_error(ctx, model, x, {n: leaf}, 0) <= limit]
            raise CheckFailed(
                f"in {'training' if training else 'eval'} mode the gradient by {what} is off from finite differences "
                f"by {error:.3g} (relative), expected at most {bound:g}; wrong for {len(wrong)} of {len(everything)} "
                f"tensors: {listing(wrong, 8)}. A custom backward downstream of these is wrong, or detach, .data or "
                "no_grad hides one of their paths",
                error,
                bound,
            )
    return Measurement(worst_error, bound)


def _direction_error(ctx: Context, model: nn.Module, x: Tensor, leaves: dict[str, Tensor], seed: int) -> float:
    """Relative error of the derivative along one random direction, which moves every tensor by the same length."""
    buffers = {n: b.clone() for n, b in model.named_buffers()}

    def loss() -> Tensor:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        torch.manual_seed(seed)
        return ctx.loss(ctx.outputs(model, x))

    tensors = list(leaves.values())
    generator = ctx.generator(100 + seed)
    noise = [torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device) for t in tensors]
    direction = [d / d.norm() / len(noise) ** 0.5 for d in noise]
    here = loss()
    grads = torch.autograd.grad(here, tensors, allow_unused=True)
    pairs = [(g, d) for g, d in zip(grads, direction, strict=True) if g is not None]
    analytic = float(sum((g * d).sum() for g, d in pairs))
    typical = sum(float(g.norm() * d.norm()) ** 2 / g.numel() for g, d in pairs) ** 0.5
    base = [t.detach().clone() for t in tensors]
    best = float("inf")
    with torch.no_grad():
        for step in (1e-6, 1e-7, 1e-8):
            values = []
            for sign in (1, -1):
                for t, origin, d in zip(tensors, base, direction, strict=True):
                    t.copy_(origin + sign * step * d)
                values.append(float(loss()))
            ahead, behind = (values[0] - float(here)) / step, (float(here) - values[1]) / step
            # Where a kink lies within the step on one side, the other side still has the slope.
            for numeric in (0.5 * (ahead + behind), ahead, behind):
                error = abs(numeric - analytic) / max(abs(numeric), abs(analytic), 0.1 * typical, 1e-6)
                best = min(best, error)
            if best <= 1e-6:
                break
        for t, origin in zip(tensors, base, strict=True):
            t.copy_(origin)
    return best
