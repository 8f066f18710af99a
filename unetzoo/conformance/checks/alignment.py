"""Alignment: output pixels lie over the input pixels that they classify."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unetzoo.analysis.operations import Operations
from unetzoo.analysis.paths import GLOBAL, path_gradients
from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, expect
from unetzoo.conformance.measuring.reach import long_image, period, radius_along, shift_error

LITTLE, MOST = 0.2, 0.6
"""Shares of what one output pixel depends on more than others do."""
SMALL = 8
"""Pixels of a filter that is a buffer; larger ones are grids and positions."""
WHOLE = 0.1
"""How near to a whole number of pixels an offset is taken for one."""


@check(requires=EVAL, cost="slow")
def check_alignment(ctx: Context) -> Measurement | None:
    """Each output pixel lies over its input pixel: asymmetric padding or cropping shifts nothing."""
    capabilities = ctx.capabilities
    if capabilities.ndim == 2:
        _expect_in_place(ctx)
    model = ctx.eval_model(perturb=False, warm=False)
    make_uniform(model)
    # What a normalization takes from the whole image has no place; without it the rest has one.
    bypass_norms(model)
    bound = 0.5 + natural_offset(ctx, model)
    offsets = [_offset_along(ctx, model, axis, bound) for axis in range(capabilities.ndim)]
    return Measurement(max(offsets), bound)


def _expect_in_place(ctx: Context) -> None:
    """What a pixel of the output depends on more than others do lies around it, if it lies in one place at all.

    Networks that see the whole image have no other measure: tokens put back in another order than they were taken in.
    """
    reach = max(*period(ctx.capabilities), 8)
    size = ctx.capabilities.legal(tuple(n * reach + m for n, m in zip((6, 10), ctx.capabilities.margin, strict=True)))
    x = ctx.input(1, size).requires_grad_()
    out = ctx.output(ctx.eval_model(), x)
    h, w = out.shape[2:]
    places = [((2 * row + 1) * h // 8, (2 * column + 1) * w // 8) for row, column in enumerate((2, 0, 3, 1))]
    maps = []
    for row, column in places:
        (gradient,) = torch.autograd.grad(ctx.loss(out[..., row, column]), x, retain_graph=True)
        maps.append(gradient.abs().sum((0, 1)) / gradient.abs().sum().clamp(min=1e-300))
    own: list[float] = []
    elsewhere: list[list[int]] = []
    for index, (row, column) in enumerate(places):
        others = torch.stack([m for i, m in enumerate(maps) if i != index]).mean(0)
        excess = (maps[index] - others).clamp(min=0)
        near = F.avg_pool2d(excess[None], 2 * reach + 1, 1, reach, divisor_override=1)[0] / excess.sum()
        own.append(float(near[row + ctx.capabilities.margin[0] // 2, column + ctx.capabilities.margin[1] // 2]))
        if own[-1] < LITTLE and float(near.max()) > MOST:
            elsewhere.append([int(i) for i in torch.unravel_index(near.argmax(), near.shape)])
    expect(
        len(elsewhere) < 2 or max(own) >= LITTLE,
        f"of an image of {list(size)} output pixels at {places} do not depend on what is near them, but on input "
        f"around {elsewhere}: rows and columns are swapped, or tokens are put back in another order than they were "
        "taken in",
    )


def _offset_along(ctx: Context, model: nn.Module, axis: int, bound: float) -> float:
    """The size of the offset along one axis, chance taken off, from images that are long along it."""
    capabilities, step = ctx.capabilities, period(ctx.capabilities)[axis]
    radius = radius_along(model, ctx.in_channels, capabilities, axis, ctx.size)
    if radius is None:
        ctx.require(False, "no receptive field is known: global context, or too wide to measure")
        return 0.0
    size = long_image(capabilities, axis, (-(-2 * radius // step) + 7) * step)
    error = shift_error(model, lambda size: ctx.input(1, size), capabilities, axis, radius, step)
    ctx.require(error <= 1e-9, "the output does not follow shifts: absolute positions or aligned-corner resampling")
    offset, chance = _offset(ctx, model, size, axis)
    _expect_aligned(offset, chance, axis, bound, size)
    odd = tuple(s + (a == axis) for a, s in enumerate(size))
    _expect_near_at_an_odd_size(ctx, model, odd, axis, radius, bound)
    if not any(capabilities.margin):  # maps that are cropped have no stride against the image
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
    block, center = _block(ctx, ctx.output(model, x), axis)
    gradients = path_gradients(x, block.sum())
    if any(period(ctx.capabilities)[axis] % stride for stride in gradients if stride != GLOBAL):
        return  # maps that are padded have no stride against the image
    whole = max(float(gradient.abs().max()) for gradient in gradients.values())
    for stride, gradient in gradients.items():
        if stride != GLOBAL and float(gradient.abs().flatten(1).amax(1).min()) > 1e-6 * whole:
            offset, chance = _centroid(gradient, axis, center)
            expect(
                abs(offset) - chance <= bound,
                f"of an image of {list(size)}, what output pixels take from stride {stride} lies {offset:+.2f} pixels "
                f"away on average along axis {axis}, expected at most {bound:.2f}: padding or cropping on one side, or "
                "an even kernel without a counterpart",
                abs(offset),
                bound,
            )


def _expect_near_at_an_odd_size(
    ctx: Context, model: nn.Module, odd: Axes, axis: int, radius: int, bound: float
) -> None:
    """At an odd size too all of the output lies over its part of the image, give or take the coarsest pixel.

    Enlarging by whole factors what was rounded, and filling up the rest, shifts ever more along an axis.
    """
    if odd != ctx.capabilities.legal(odd):
        return
    length = odd[axis] - ctx.capabilities.margin[axis]
    last = length - radius - 2 * period(ctx.capabilities)[axis]  # nearer to the end it would take less from that side
    for start in {length // 2, last}:
        offset, chance = _offset(ctx, model, odd, axis, start)
        most = bound + period(ctx.capabilities)[axis]
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
    step = period(ctx.capabilities)[axis]
    starts = (radius, radius + 2 * step, radius + 5 * step)
    (usual,) = _path_offsets(ctx, model, size, axis, (radius,))
    for odd in (tuple(s + more * (a == axis) for a, s in enumerate(size)) for more in (1, 2, 3)):
        if odd != ctx.capabilities.legal(odd):
            continue
        found = _path_offsets(ctx, model, odd, axis, starts)
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


def _path_offsets(
    ctx: Context, model: nn.Module, size: Axes, axis: int, starts: Sequence[int]
) -> list[dict[int, float]]:
    """By stride, how far from a block of the output the pixels lie that it takes something from on that path.

    Of a constant image: of equal pixels a maximum is always the first, at any size.
    """
    x = torch.ones((1, ctx.in_channels, *size), dtype=torch.float64, device=ctx.device, requires_grad=True)
    out, found = ctx.output(model, x), []
    for start in starts:
        block, center = _block(ctx, out, axis, start)
        gradients = path_gradients(x, block.sum())
        whole = max(float(gradient.abs().max()) for gradient in gradients.values())
        felt = {s: g for s, g in gradients.items() if s != GLOBAL and float(g.abs().max()) > 1e-6 * whole}
        found.append({stride: _centroid(gradient, axis, center)[0] for stride, gradient in felt.items()})
    return found


def _offset(ctx: Context, model: nn.Module, size: Axes, axis: int, start: int | None = None) -> tuple[float, float]:
    """How far along the axis the pixels that a block of the output, else in the middle, depends on lie from it."""
    x = _images(ctx, size)
    block, center = _block(ctx, ctx.output(model, x), axis, start)
    (gradient,) = torch.autograd.grad(block.sum(), x)
    ctx.require(bool((gradient.flatten(1) != 0).any(1).all()), "the network's response to uniform weights is flat")
    return _centroid(gradient, axis, center)


def _images(ctx: Context, size: Axes) -> Tensor:
    """Nearly constant images: where a maximum lies is chance, which several of them tell."""
    return (1 + 0.1 * ctx.input(16 if ctx.capabilities.ndim < 3 else 4, size)).requires_grad_()


def _block(ctx: Context, out: Tensor, axis: int, start: int | None = None) -> tuple[Tensor, float]:
    """Two periods of the output along the axis, and the middle of them in the image's coordinates."""
    step, length = period(ctx.capabilities)[axis], out.shape[axis + 2]
    start = (length // 2) // (2 * step) * 2 * step if start is None else start
    return out.narrow(axis + 2, start, 2 * step), start + step - 0.5 + ctx.capabilities.margin[axis] / 2


def _centroid(gradient: Tensor, axis: int, center: float) -> tuple[float, float]:
    """How far from `center` a gradient lies along the axis, on average over the images, and three standard errors."""
    profiles = gradient.abs().movedim(axis + 2, 1).flatten(2).sum(2)
    centroids = (profiles * torch.arange(profiles.shape[1])).sum(1) / profiles.sum(1)
    return float(centroids.mean()) - center, 3 * float(centroids.std()) / math.sqrt(len(centroids))


def bypass_norms(model: nn.Module) -> None:
    """Let torch's normalizations by the statistics of one image pass their input through."""
    for module in model.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)):
            module.register_forward_hook(lambda module, args, output: args[0])


@torch.no_grad()
def make_uniform(model: nn.Module) -> None:
    """Make every weight positive and equal, averaging its inputs, and so filters that are not trained; no offsets."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.fill_(1.0 / parameter[0].numel())
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    for buffer in model.buffers():
        if buffer.is_floating_point() and buffer.dim() > 2 and max(buffer.shape[2:]) < SMALL:
            buffer.fill_(1.0 / max(buffer[0].numel(), 1))


def natural_offset(ctx: Context, model: nn.Module) -> float:
    """Largest shift that strided odd kernels, of convolutions and pooling, bring by themselves.

    Half a pixel of each level that they lead out of, and as much again where transposed ones lead back.
    """
    found: set[bool] = set()

    def look(operation: object, arguments: tuple[Any, ...], result: object) -> None:
        name = str(operation)
        if name.startswith("aten.convolution"):
            kernel, stride, transposed = arguments[1].shape[2:], arguments[3], arguments[6]
        elif "_pool" in name and "adaptive" not in name:
            kernel, stride, transposed = arguments[1], (*arguments[2:3], [])[0] or arguments[1], False
        else:
            return
        if max(stride, default=1) > 1 and any(k % 2 for k in kernel):
            found.add(transposed)

    with torch.no_grad(), Operations(look):
        ctx.outputs(model, ctx.input(1))
    return len(found) * (ctx.capabilities.coarsest_stride - 1) / 2
