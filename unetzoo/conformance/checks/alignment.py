"""Alignment: output pixels lie over the input pixels they speak of."""

from __future__ import annotations

import math

import torch
from torch import nn

from unetzoo.conformance.check import Measurement, check, expect
from unetzoo.conformance.claims import Axes
from unetzoo.conformance.context import Context
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
    length = (-(-2 * radius // step) + 7) * step
    size = long_image(claims, axis, length)
    shifted = long_image(claims, axis, length + step)
    only = tuple(step if a == axis else 0 for a in range(claims.ndim))
    reach = tuple(max(radius, m // 2) if a == axis else m // 2 for a, m in enumerate(claims.margin))
    error, _ = shift_error(model, ctx.input(1, shifted), only, claims, reach)
    ctx.require(error <= 1e-9, "the output does not follow shifts: absolute positions or aligned-corner resampling")
    offset, chance = _offset(ctx, model, size, axis)
    _expect_aligned(offset, chance, axis, bound, size)
    if bound == 0.5 and abs(offset) < WHOLE and step > 1:
        _expect_aligned_off_the_period(ctx, model, size, axis)
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


def _expect_aligned_off_the_period(ctx: Context, model: nn.Module, size: Axes, axis: int) -> None:
    """Where padding and cropping do not match, the output is off by whole pixels at some sizes.

    Networks that resample by fractions are off by fractions there, by nature, and are let pass.
    """
    longer = (tuple(s + more * (a == axis) for a, s in enumerate(size)) for more in (1, 2, 3))
    found = {odd: _offset(ctx, model, odd, axis) for odd in longer if odd == ctx.claims.legal(odd)}
    if all(abs(offset - round(offset)) < WHOLE for offset, _ in found.values()):
        for odd, (offset, chance) in found.items():
            _expect_aligned(offset, chance, axis, 0.5, odd)


def _offset(ctx: Context, model: nn.Module, size: Axes, axis: int) -> tuple[float, float]:
    """How far along the axis the pixels that a block in the middle of the output depends on lie from it, on average.

    Where a maximum lies is chance: it comes with three standard errors of the mean over several images.
    """
    x = (1 + 0.1 * ctx.input(16 if ctx.claims.ndim < 3 else 4, size)).requires_grad_()
    out = ctx.output(model, x)
    step, length = period(ctx.claims)[axis], out.shape[axis + 2]
    start = (length // 2) // (2 * step) * 2 * step
    (gradient,) = torch.autograd.grad(out.narrow(axis + 2, start, 2 * step).sum(), x)
    profiles = gradient.abs().movedim(axis + 2, 1).flatten(2).sum(2)
    ctx.require(bool((profiles.sum(1) > 0).all()), "the network's response to uniform weights is flat")
    centroids = (profiles * torch.arange(profiles.shape[1])).sum(1) / profiles.sum(1)
    offset = float(centroids.mean()) - (start + step - 0.5) - ctx.claims.margin[axis] / 2
    return offset, 3 * float(centroids.std()) / math.sqrt(len(centroids))


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
