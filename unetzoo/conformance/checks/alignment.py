"""Alignment: output pixels lie over the input pixels they speak of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unetzoo.conformance.check import Measurement, check, expect
from unetzoo.conformance.claims import Axes
from unetzoo.conformance.context import Context
from unetzoo.conformance.paths import GLOBAL, path_gradients
from unetzoo.conformance.reach import long_image, period, radius_along, shift_error

WHOLE = 0.1
"""How near to a whole number of pixels an offset is taken for one."""


@check(cost="slow")
def check_alignment(ctx: Context) -> Measurement | None:
    """Output pixels lie over the input pixels they speak of: no shift by asymmetric padding or cropping."""
    claims = ctx.claims
    model = ctx.eval_model(perturb=False, warm=False)
    make_uniform(model)
    # What a normalisation takes from the whole image has no place; without it the rest has one.
    bypass_norms(model)
    bound = 0.5 + natural_offset(model, claims.coarsest_stride)
    offsets = [_offset_along(ctx, model, axis, bound) for axis in range(claims.ndim)]
    return Measurement(max(offsets), bound)


def _offset_along(ctx: Context, model: nn.Module, axis: int, bound: float) -> float:
    """The size of the offset along one axis, chance taken off, from images that are long along it."""
    claims, step = ctx.claims, period(ctx.claims)[axis]
    radius = radius_along(model, ctx.in_channels, claims, axis, ctx.size)
    if radius is None:
        ctx.require(False, "no receptive field is known: global context, or too wide to measure")
        return 0.0
    size = long_image(claims, axis, (-(-2 * radius // step) + 7) * step)
    error = shift_error(model, lambda size: ctx.input(1, size), claims, axis, radius, step)
    ctx.require(error <= 1e-9, "the output does not follow shifts: absolute positions or aligned-corner resampling")
    offset, chance = _offset(ctx, model, size, axis)
    _expect_aligned(offset, chance, axis, bound, size)
    _expect_near_at_an_odd_size(ctx, model, tuple(s + (a == axis) for a, s in enumerate(size)), axis, bound)
    if not any(claims.margin):  # maps that are cropped have no stride against the image
        _expect_paths_aligned(ctx, model, size, axis, bound)
        _expect_paths_in_place_off_the_period(ctx, model, size, axis, radius, bound)
    return max(abs(offset) - chance, 0.0)


def _expect_aligned(offset: float, chance: float, axis: int, bound: float, size: Axes) -> None:
    expect(
        abs(offset) - chance <= bound,
        f"of an image of {list(size)} output pixels depend on input {offset:+.2f} pixels away on average along axis "
        f"{axis}, expected at most {bound:.2f}: padding or cropping on one side, or an even kernel without a "
        "counterpart",
        abs(offset),
        bound,
    )


def _expect_paths_aligned(ctx: Context, model: nn.Module, size: Axes, axis: int, bound: float) -> None:
    """What passes through each stride is aligned by itself: a shift of the coarsest features hides behind the skips."""
    x = _images(ctx, size)
    block, centre = _block(ctx, ctx.output(model, x), axis)
    gradients = path_gradients(x, block.sum())
    if any(period(ctx.claims)[axis] % stride for stride in gradients if stride != GLOBAL):
        return  # maps that are padded have no stride against the image
    whole = max(float(gradient.abs().max()) for gradient in gradients.values())
    for stride, gradient in gradients.items():
        if stride != GLOBAL and float(gradient.abs().flatten(1).amax(1).min()) > 1e-6 * whole:
            offset, chance = _centroid(gradient, axis, centre)
            expect(
                abs(offset) - chance <= bound,
                f"of an image of {list(size)}, what output pixels take from stride {stride} lies {offset:+.2f} pixels "
                f"away on average along axis {axis}, expected at most {bound:.2f}: padding or cropping on one side, or "
                "an even kernel without a counterpart",
                abs(offset),
                bound,
            )


def _expect_near_at_an_odd_size(ctx: Context, model: nn.Module, odd: Axes, axis: int, bound: float) -> None:
    """At an odd size too all of the output lies over its part of the image, give or take the coarsest pixel.

    Enlarging by whole factors what was rounded, and filling up the rest, shifts ever more along an axis.
    """
    if odd != ctx.claims.legal(odd):
        return
    for quarters in (2, 3):
        start = quarters * (odd[axis] - ctx.claims.margin[axis]) // 4
        offset, chance = _offset(ctx, model, odd, axis, start)
        most = bound + period(ctx.claims)[axis]
        expect(
            abs(offset) - chance <= most,
            f"of an image of {list(odd)} output pixels at {start} along axis {axis} depend on input {offset:+.2f} "
            f"pixels away, expected at most {most:.2f}: enlarge to the size of the skip, not by whole factors",
            abs(offset),
            most,
        )


def _expect_paths_in_place_off_the_period(
    ctx: Context, model: nn.Module, size: Axes, axis: int, radius: int, bound: float
) -> None:
    """Where rounding up and cropping, or padding and cropping, do not match, paths are off by whole pixels.

    Alike in all of the image, that is. Networks that resample by fractions are off by fractions at sizes off the
    period, more so here than there, by nature; and those that take the nearest pixel back by less than the stride.
    """
    step = period(ctx.claims)[axis]
    starts = (radius, radius + 2 * step, radius + 5 * step)
    usual = _path_offsets(ctx, model, size, axis, radius)
    for odd in (tuple(s + more * (a == axis) for a, s in enumerate(size)) for more in (1, 2, 3)):
        if odd != ctx.claims.legal(odd):
            continue
        found = [_path_offsets(ctx, model, odd, axis, start) for start in starts]
        for stride in (s for s in usual.keys() & set.intersection(*map(set, found)) if step % s == 0):
            shifts = [offsets[stride] - usual[stride] for offsets in found]
            whole = all(abs(shift - round(shifts[0])) < WHOLE for shift in shifts)
            expect(
                not whole or 1 - bound - stride < shifts[0] < bound,
                f"of an image of {list(odd)}, what output pixels take from stride {stride} lies {shifts[0]:+.2f} "
                f"pixels further along axis {axis} than of one of {list(size)}: padding or rounding on one side and "
                "cropping on the other",
                abs(shifts[0]),
                bound,
            )


def _path_offsets(ctx: Context, model: nn.Module, size: Axes, axis: int, start: int) -> dict[int, float]:
    """By stride, how far from a block of the output the pixels lie that it takes something from on that path.

    Of a constant image: of equal pixels a maximum is always the first, at any size.
    """
    x = torch.ones((1, ctx.in_channels, *size), dtype=torch.float64, device=ctx.device, requires_grad=True)
    block, centre = _block(ctx, ctx.output(model, x), axis, start)
    gradients = path_gradients(x, block.sum())
    whole = max(float(gradient.abs().max()) for gradient in gradients.values())
    felt = {s: g for s, g in gradients.items() if s != GLOBAL and float(g.abs().max()) > 1e-6 * whole}
    return {stride: _centroid(gradient, axis, centre)[0] for stride, gradient in felt.items()}


def _offset(ctx: Context, model: nn.Module, size: Axes, axis: int, start: int | None = None) -> tuple[float, float]:
    """How far along the axis the pixels that a block of the output, else in the middle, depends on lie from it."""
    x = _images(ctx, size)
    block, centre = _block(ctx, ctx.output(model, x), axis, start)
    (gradient,) = torch.autograd.grad(block.sum(), x)
    ctx.require(bool((gradient.flatten(1) != 0).any(1).all()), "the network's response to uniform weights is flat")
    return _centroid(gradient, axis, centre)


def _images(ctx: Context, size: Axes) -> Tensor:
    """Nearly constant images: where a maximum lies is chance, which several of them tell."""
    return (1 + 0.1 * ctx.input(16 if ctx.claims.ndim < 3 else 4, size)).requires_grad_()


def _block(ctx: Context, out: Tensor, axis: int, start: int | None = None) -> tuple[Tensor, float]:
    """Two periods of the output along the axis, and the middle of them in the image's coordinates."""
    step, length = period(ctx.claims)[axis], out.shape[axis + 2]
    start = (length // 2) // (2 * step) * 2 * step if start is None else start
    return out.narrow(axis + 2, start, 2 * step), start + step - 0.5 + ctx.claims.margin[axis] / 2


def _centroid(gradient: Tensor, axis: int, centre: float) -> tuple[float, float]:
    """How far from ``centre`` a gradient lies along the axis, on average over the images, and three standard errors."""
    profiles = gradient.abs().movedim(axis + 2, 1).flatten(2).sum(2)
    centroids = (profiles * torch.arange(profiles.shape[1])).sum(1) / profiles.sum(1)
    return float(centroids.mean()) - centre, 3 * float(centroids.std()) / math.sqrt(len(centroids))


def bypass_norms(model: nn.Module) -> None:
    """Let torch's normalisations by the statistics of one image pass their input through."""
    for module in model.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)):
            module.register_forward_hook(lambda module, args, output: args[0])


@torch.no_grad()
def make_uniform(model: nn.Module) -> None:
    """Make every weight positive and equal, averaging its inputs; no offsets."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.fill_(1.0 / parameter[0].numel())
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def natural_offset(model: nn.Module, coarsest: int) -> float:
    """Largest shift that strided odd kernels bring by themselves.

    Half a pixel of each level that they lead out of, and as much again where transposed ones lead back.
    """
    found = set()
    for module in model.modules():
        stride, kernel = getattr(module, "stride", 1), getattr(module, "kernel_size", 2)
        strides = stride if isinstance(stride, (tuple, list)) else (stride,)
        kernels = kernel if isinstance(kernel, (tuple, list)) else (kernel,)
        if any(isinstance(s, int) and s > 1 for s in strides) and any(isinstance(k, int) and k % 2 for k in kernels):
            found.add(getattr(module, "transposed", False))
    return len(found) * (coarsest - 1) / 2
