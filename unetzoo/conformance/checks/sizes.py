"""Sizes that do not divide: nothing is lost at the borders, and no axis is treated worse than the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, disagreement, expect
from unetzoo.conformance.measuring.reach import period
from unetzoo.conformance.measuring.shapes import REFUSALS


@check(core=True)
def check_border_pixels(ctx: Context) -> None:
    """Every row and column of the input influences the output, and every one of the output depends on the input.

    Networks that round a size down and fill up what is missing give an odd image a border of nothing.
    """
    model = ctx.eval_model()
    fine = ctx.capabilities.path_strides is not None and 1 in ctx.capabilities.path_strides
    sizes = [s for s in ctx.sizes() if all(n >= least for n, least in zip(s, sorted(ctx.size), strict=False))]
    # A long line has few pixels a row, of which a ReLU may silence all; a long volume takes too much memory.
    long = ctx.long_sizes()[:1] if ctx.capabilities.ndim == 2 else []
    for size in [*sizes, *long]:
        few = (
            size in long or ctx.capabilities.ndim == 3
        )  # so many pixels a row that two images leave none unused by chance
        x = ctx.input(2 if few else 6, size).requires_grad_()
        out = ctx.output(model, x)
        (gradient,) = torch.autograd.grad(ctx.loss(out), x)
        used, lively = gradient.ne(0), out.detach().ne(out.detach()[:1])
        for axis in range(ctx.capabilities.ndim):
            others = [d for d in range(x.dim()) if d != axis + 2]
            ignored = (~used.any(dim=others)).nonzero().flatten().tolist()
            dead = (~lively.any(dim=others)).nonzero().flatten().tolist()
            place = f"along axis {axis} of an input of {list(size)}"
            expect(not ignored, f"{place}, pixels {ignored[:8]} have no influence on the output: they are cropped")
            expect(not dead, f"{place}, outputs {dead[:8]} are the same for every image: they are padding")
            repeated = _repeated(out.detach().movedim(axis + 2, 0)) if fine and size not in long else []
            expect(not repeated, f"{place}, outputs {repeated} repeat their neighbors: they are made up")
        if size == ctx.size:
            flat = [
                c for c in range(out.shape[1]) if bool((out[:, c].std(dim=list(range(1, out.dim() - 1))) == 0).all())
            ]
            expect(not flat, f"the logits of classes {flat} are the same in every pixel of an input of {list(size)}")


def _repeated(rows: Tensor) -> list[int]:
    """The outermost rows that equal the next.

    After upsampling they do by nature: to be asked of networks in which a path keeps the image's own resolution.
    """
    pairs = {0: (rows[0], rows[1]), len(rows) - 1: (rows[-1], rows[-2])} if len(rows) > 3 else {}
    return [place for place, pair in pairs.items() if torch.equal(*pair)]


@check(requires=EVAL)
def check_axis_symmetry(ctx: Context) -> Measurement | None:
    """A network that treats its axes alike on squares does so on rectangles and at odd sizes.

    With every kernel transposed it turns a transposed image into the transposed output. Where that holds on squares of
    whole periods, a slip in one axis, such as one target for both, or a crop or an alignment that is off at odd widths
    alone, breaks it elsewhere. Networks that treat their axes differently by design do so at every size, and are let
    pass.
    """
    ctx.require(ctx.capabilities.ndim > 1, "there is one axis only")
    model, mirrored = ctx.eval_model(), ctx.eval_model()
    with torch.no_grad():
        for parameter in mirrored.parameters():
            if parameter.dim() == ctx.capabilities.ndim + 2 and parameter.shape[-1] == parameter.shape[-2]:
                parameter.copy_(parameter.transpose(-1, -2).clone())
        square = ctx.capabilities.legal((max(2 * max(period(ctx.capabilities)), 8),) * ctx.capabilities.ndim)
        base = ctx.capabilities.legal(tuple((2 + axis) * p for axis, p in enumerate(period(ctx.capabilities))))
        even = _asymmetry(ctx, model, mirrored, square)
        ctx.require(even <= 1e-9, "the axes are treated differently on squares of whole periods: by design")
        figures = []
        odd = (ctx.capabilities.legal(tuple(b + k for b, k in zip(base, add, strict=True))) for add in _odd(base))
        for size in dict.fromkeys((base, *odd)):
            figures.append(_asymmetry(ctx, model, mirrored, size))
            expect(
                figures[-1] <= 1e-9,
                f"with kernels transposed, the transposed image of {list(size)} gives an output that differs from the "
                f"transposed one by {figures[-1]:.3g}, while at {list(square)} it does not: the last two axes are "
                "padded, cropped, resized or aligned differently",
                figures[-1],
                1e-9,
            )
    return Measurement(max(figures), 1e-9)


@check(requires=EVAL)
def check_mirror_symmetry(ctx: Context) -> Measurement | None:
    """A network that is mirror-equivariant along one axis is so along the others.

    With every kernel mirrored, that is, and at multiples of the period. Padding on one side, or a shift, along one axis
    alone breaks it there. Strided odd kernels, windows and positions break it along every axis, and are let pass; so
    are networks whose strides differ between the axes. Tokens that are put back rows for columns turn by half a turn
    with the image, and are mirrored along no axis.
    """
    ctx.require(ctx.capabilities.ndim > 1, "there is one axis only")
    model = ctx.eval_model()
    steps = [getattr(module, "stride", 1) for module in model.modules()]
    ctx.require(
        len(set(period(ctx.capabilities))) == 1 and all(len(set(s)) == 1 for s in steps if isinstance(s, tuple)),
        "the strides differ between the axes",
    )
    times = (2, 4) if ctx.capabilities.ndim == 2 else (2,) * ctx.capabilities.ndim  # a square hides swapped axes
    x = ctx.input(1, ctx.capabilities.legal(tuple(n * p for n, p in zip(times, period(ctx.capabilities), strict=True))))
    expected = ctx.output(model, x).detach()
    axes = range(2, x.dim())
    found = [_mirror_error(ctx, x, expected, [axis]) for axis in axes]
    turned = _mirror_error(ctx, x, expected, list(axes))
    expect(
        turned > 1e-9 or min(found) <= 1e-9,
        f"with kernels mirrored, an image of {list(x.shape[2:])} that is mirrored along all axes gives the mirrored "
        f"output, and along one axis alone one that differs by {min(found):.3g}: tokens are put back in another order "
        "than they were taken in, rows for columns",
        min(found),
        1e-9,
    )
    kept, broken = ([axis for axis, error in enumerate(found) if (error <= 1e-9) == holds] for holds in (True, False))
    expect(
        not kept or not broken,
        f"with kernels mirrored, an image of {list(x.shape[2:])} that is mirrored along axis {kept} gives the mirrored "
        f"output, and along axis {broken} one that differs by {max(found):.3g}: padded on one side, or shifted",
        max(found),
        1e-9,
    )
    return Measurement(max(found), 1e-9) if kept else None


def _mirror_error(ctx: Context, x: Tensor, expected: Tensor, axes: list[int]) -> float:
    """How far the output for a mirrored image, by mirrored kernels, is from the mirrored output."""
    mirrored = ctx.eval_model()
    with torch.no_grad():
        for parameter in mirrored.parameters():
            if parameter.dim() == x.dim():
                parameter.copy_(parameter.flip(axes))
        return disagreement(ctx.output(mirrored, x.flip(axes)).flip(axes), expected)


def _odd(base: Axes) -> list[Axes]:
    """What is added to a size: one pixel on either of the last axes, on both, and three on one."""
    none = (0,) * (len(base) - 2)
    return [(*none, 0, 1), (*none, 1, 0), (*none, 1, 1), (*none, 0, 3)]


def _asymmetry(ctx: Context, model: nn.Module, mirrored: nn.Module, size: Axes) -> float:
    """Relative difference between the output for an image and that of the mirrored network for the transposed one."""
    x = ctx.input(1, size)
    out, other = _if_taken(ctx, model, x), _if_taken(ctx, mirrored, x.transpose(-1, -2))
    ctx.require(out is not None or other is not None, f"an image of {list(size)} is refused, whichever way it lies")
    if out is None or other is None or out.shape != other.transpose(-1, -2).shape:
        return float("inf")
    return disagreement(other.transpose(-1, -2), out)


def _if_taken(ctx: Context, model: nn.Module, x: Tensor) -> Tensor | None:
    try:
        return ctx.output(model, x)
    except REFUSALS:
        return None
