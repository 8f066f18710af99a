"""Floating types: float64 stays float64, half precision stays finite, autocast trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from unetzoo.analysis.operations import watching
from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context, warm_statistics
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, NotApplicable, agree, expect, worst
from unetzoo.conformance.measuring.rounding import BFLOAT16, rounding_effects
from unetzoo.conformance.measuring.tracing import blame, listing, other_floats


@check()
def check_no_hidden_cast(ctx: Context) -> Measurement:
    """A float64 network computes in float64 throughout.

    A float32 island hides in `.float()`, in numpy, or in a grid made in the default type: it costs precision here and
    raises in half precision, where it meets weights of another type. Intended ones are declared as `casts`.
    """
    cases = [(True, ctx.size), *((False, size) for size in ctx.sizes())]
    models = {True: ctx.train_model(), False: ctx.eval_model()}
    for training, size in cases:
        model, x = models[training], ctx.input(size=size)
        with torch.set_grad_enabled(training):
            found = list(dict.fromkeys(other_floats(model, x, ctx.capabilities.casts)))
        expect(
            not found,
            f"in a float64 {'training' if training else 'eval'} forward of {list(size)} {len(found)} operations saw "
            f"another type: {listing(found, 3)}. Create tensors with dtype=x.dtype and cast nothing, or declare the "
            "module in casts",
            len(found),
            0,
        )
    return Measurement(0, 0)


@check(devices="both")
@torch.no_grad()
def check_float16(ctx: Context) -> Measurement | None:
    """A half-precision network gives finite outputs on noise and on flat images, near float32 on noise.

    `masked_fill(-1e9)` raises or overflows, and an epsilon of 1e-8 is zero.
    """
    model = ctx.eval_model(dtype=torch.float16)
    x = ctx.input(dtype=torch.float16)
    outputs = _finite_half(ctx, model, x, "noise")
    _finite_half(ctx, model, torch.zeros_like(x), "zeros")
    _finite_half(ctx, model, torch.ones_like(x), "ones")
    return _near_float32(ctx, model, x, outputs, "float16")


@check(devices="both", cost="slow")
@torch.no_grad()
def check_float16_large_image(ctx: Context) -> None:
    """A half-precision network is finite on an image with more pixels than float16 can count (65,504).

    A sum over such an image, as in an average taken by hand, passes 65504.
    """
    ctx.require(ctx.capabilities.fixed_size is None, "declares a fixed size")
    side = math.ceil((2.5 * 65504) ** (1 / ctx.capabilities.ndim))
    size = ctx.capabilities.legal((side,) * ctx.capabilities.ndim)
    x = 1 + ctx.input(1, size=size, dtype=torch.float16)
    model = ctx.eval_model(dtype=torch.float32)
    try:
        # Statistics of small images say little of what deep layers see of large ones.
        warm_statistics(model, 1 + ctx.input(1, size=size, seed=1, dtype=torch.float32))
        ctx.outputs(model, x.float())
    except Exception as error:  # a limit on the size, whatever its error, is no matter of half precision
        raise NotApplicable(f"runs at no size as large as {list(size)}") from error
    _finite_half(ctx, model.half(), x, f"noise of size {list(size)}")


def _finite_half(ctx: Context, model: nn.Module, x: Tensor, name: str) -> list[Tensor]:
    """The outputs for an image, which must be finite."""
    hint = "Half ends at 65504: mask with torch.finfo(x.dtype).min, and create tensors with dtype=x.dtype"
    with blame(f"a float16 forward of {name}", hint), ctx.sixteen_bits():
        outputs = ctx.outputs(model, x)
    bad = sum(int((~out.isfinite()).sum()) for out in outputs)
    if bad:
        raise CheckFailed(
            f"{bad} of {sum(out.numel() for out in outputs)} outputs of a float16 forward of {name} are NaN or "
            f"infinite, first {_culprit(ctx, model, x)}. An epsilon below 6e-8 is zero in half, a sum or mask beyond "
            "65504 infinite",
            bad,
            0,
        )
    return outputs


def _culprit(ctx: Context, model: nn.Module, x: Tensor) -> str:
    """The first module whose output is not finite though its input is."""
    found: list[str] = []

    def look(name: str, module: nn.Module, args: object, result: object) -> None:
        before, after = ([t for t in tree_leaves(v) if isinstance(t, Tensor)] for v in (args, result))
        if all(t.isfinite().all() for t in before) and not all(t.isfinite().all() for t in after):
            found.append(f"in {name!r} ({type(module).__name__})")

    with watching([(name, module) for name, module in model.named_modules() if name], look):
        ctx.outputs(model, x)
    return found[0] if found else "outside of the sub-modules, in the network's own forward"


def _near_float32(ctx: Context, model: nn.Module, x: Tensor, outputs: list[Tensor], what: str) -> Measurement | None:
    """Hold reduced-precision outputs to float32 ones of the same weights: 5e-2, or four times what rounding does."""
    exact, x32 = model.float(), x.float()
    reference = ctx.outputs(exact, x32)
    effects = rounding_effects(ctx, exact, x32, reference, BFLOAT16)
    return worst(
        agree(out.float(), ref, max(5e-2, 4 * effect), f"the {what} output on noise against float32")
        for out, ref, effect in zip(outputs, reference, effects, strict=True)
    )


@check(requires=BACKWARD, devices="both")
def check_autocast(ctx: Context) -> Measurement | None:
    """Under autocast the outputs are near float32, gradients are finite, and the loss decreases.

    bfloat16 on the CPU, float16 too on CUDA. In-place and indexed operations meet two types there that must agree.
    """
    types = [torch.bfloat16] if ctx.device.type == "cpu" else [torch.bfloat16, torch.float16]
    return worst(m for m in (_autocast(ctx, dtype) for dtype in types) if m is not None)


def _autocast(ctx: Context, dtype: torch.dtype) -> Measurement | None:
    name = f"{str(dtype).removeprefix('torch.')} autocast"
    hint = "Make the types agree: write into torch.zeros_like(the source), or cast the source with .to(target.dtype)"
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    with torch.no_grad(), blame(f"an eval forward under {name}", hint):
        try:
            found = _near_float32(ctx, model, x, _autocast_outputs(ctx, model, x, dtype), name)
        except CheckFailed:
            if ctx.device.type != "cpu":
                raise
            # oneDNN's own kernels may be what is wrong: in torch 2.14, of 8 x 8 convolutions of stride 8.
            with torch.backends.mkldnn.flags(enabled=False):
                outputs = _autocast_outputs(ctx, model, x, dtype)
            found = _near_float32(ctx, model, x, outputs, name)
    for rate in (1e-3, 1e-4, 1e-5):  # the first ones overshoot in some networks, in float32 too
        losses = _losses(ctx, dtype, rate, name, hint)
        if min(losses[1:]) < losses[0]:
            break
    expect(
        min(losses[1:]) < losses[0],
        f"under {name} five Adam steps at {rate} do not lower the loss: {[round(v, 4) for v in losses]}",
        min(losses[1:]) / losses[0],
        1.0,
    )
    return found


def _autocast_outputs(ctx: Context, model: nn.Module, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
    with torch.autocast(ctx.device.type, dtype=dtype):
        return ctx.outputs(model, x)


def _losses(ctx: Context, dtype: torch.dtype, rate: float, name: str, hint: str) -> list[float]:
    """The losses of five Adam steps on one batch under autocast; the gradients must be finite.

    In float16 they are scaled by 256, or what the scaler has left of it by halving at every overflow, and 1 at least.
    """
    losses: list[float] = []
    model, x = ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scaler = torch.amp.GradScaler(ctx.device.type, enabled=dtype == torch.float16, init_scale=256.0)
    while len(losses) < 5:
        optimizer.zero_grad()
        torch.manual_seed(ctx.seed)  # the same dropout in every step, so that losses compare
        with blame(f"a training step under {name}", hint):
            with torch.autocast(ctx.device.type, dtype=dtype):
                outputs = ctx.outputs(model, x)
            loss = sum(
                (F.mse_loss(out.float(), _target(ctx, out)) for out in outputs), torch.zeros((), device=x.device)
            )
            with _reliable_conv3d(ctx):
                scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        broken = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        scale = scaler.get_scale()
        expect(
            not broken or scale > 1,
            f"in step {len(losses) + 1} under {name} the gradients of {listing(broken)} are not finite",
        )
        if not broken:
            losses.append(loss.item())
        scaler.step(optimizer)  # or not, if gradients overflowed: then the scale is halved
        scaler.update()
    return losses


@contextmanager
def _reliable_conv3d(ctx: Context) -> Iterator[None]:
    """On the CPU in 3-D, without oneDNN: it leaves bfloat16 weight gradients of small maps uninitialized."""
    if ctx.device.type == "cpu" and ctx.capabilities.ndim == 3:
        with torch.backends.mkldnn.flags(enabled=False):
            yield
    else:
        yield


def _target(ctx: Context, out: Tensor) -> Tensor:
    return torch.randn(out.shape, generator=ctx.generator(3)).to(out.device)
