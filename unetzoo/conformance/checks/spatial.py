"""Spatial semantics: paths and strides, shifts, receptive field, crops, tiles, degenerate values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unetzoo.analysis.paths import GLOBAL, path_spectrum
from unetzoo.analysis.reach import extent
from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect, worst
from unetzoo.conformance.measuring.reach import period, shift_error, space

LONG = {1: 1100, 2: 1100, 3: 160}
"""Pixels, by dimensions."""
MOST_PIXELS = 20_000
"""Of an image off the period whose paths are traced."""


@check(requires=EVAL)
def check_path_strides(ctx: Context) -> None:
    """The paths from input to output have the declared strides, and every connected path carries signal."""
    capabilities = ctx.capabilities
    ctx.require(
        not any(capabilities.margin), "the network crops its output, so that maps have no stride against the input"
    )
    model = ctx.eval_model()
    x = ctx.input(1, _whole_periods(capabilities)).requires_grad_()
    spectrum = path_spectrum(x, ctx.loss(ctx.output(model, x)))
    finite = tuple(s for s in spectrum.alive if s != GLOBAL)
    expect(
        bool(spectrum.alive),
        "the output has no gradient by the input on any path: the graph is cut by detach or no_grad",
    )
    dead = [_name(s) for s in spectrum.dead]
    expect(
        not dead,
        f"paths through stride {', '.join(dead)} are connected but carry no gradient: a skip is multiplied by "
        "zero, or its "
        f"weights are; strides that carry: {[_name(s) for s in spectrum.alive]}",
    )
    if "path_strides" in capabilities.declared and capabilities.path_strides is not None:
        expect(
            finite == tuple(capabilities.path_strides),
            f"paths of strides {finite} carry gradient, declared {tuple(capabilities.path_strides)}: "
            "a skip is dropped, detached, "
            "added, or taken from another level",
        )
    elif capabilities.no_skips:
        expect(
            len(finite) == 1,
            f"paths of strides {finite} carry gradient, but no_skips is declared: something passes by the "
            "coarsest level",
        )
    else:
        holes = [stride for stride in _holes(finite) if stride in spectrum.decoded]
        holes += [1] if spectrum.refined and len(finite) > 1 else []
        expect(
            not holes,
            f"paths of strides {finite} carry gradient and none of stride {holes}: the skip of that level is "
            "dropped or detached, or taken from another level (declare `path_strides` if it is meant to be so)",
        )
    _expect_paths_at_an_odd_size(ctx, model, finite)


def _whole_periods(capabilities: Capabilities) -> Axes:
    """A legal size at which no map is rounded; of volumes, where more would be costly, long along one axis alone."""
    last = capabilities.ndim - 1
    times = [2 + axis if capabilities.ndim < 3 else 1 + (axis == last) for axis in range(capabilities.ndim)]
    rules = zip(period(capabilities), capabilities.min_size, times, strict=True)
    return capabilities.legal(tuple(max(-(-least // p), n) * p for p, least, n in rules))


def _expect_paths_at_an_odd_size(ctx: Context, model: nn.Module, strides: Axes) -> None:
    """A skip that is left out where sizes do not fit is missing at sizes off the period alone."""
    step = max(period(ctx.capabilities))
    size = ctx.capabilities.legal((-(-max(2 * step, 16) // step) * step - 1,) * ctx.capabilities.ndim)
    # In 1-D a padded map may be taken for one with its channels last; at any rank it has strides that fit no period.
    padded = ctx.capabilities.ndim == 1 or any(step % stride for stride in strides)
    comparable = not padded and len(strides) > 1 and any(s % step for s in size)
    if not comparable or math.prod(size) > MOST_PIXELS:
        return
    x = ctx.input(1, size).requires_grad_()
    spectrum = path_spectrum(x, ctx.loss(ctx.output(model, x)))
    # Maps that are rounded up or down have a stride near that of the even ones; the coarsest may be a single pixel.
    met = {min(strides, key=lambda stride: abs(math.log2(stride / other))) for other in spectrum.alive}
    missing = [stride for stride in strides[:-1] if stride not in met]
    expect(
        not missing,
        f"for an input of {list(size)} no path of stride {missing} carries gradient, while for even ones {strides} do: "
        "a skip is left out where sizes differ. Resize, pad or crop it",
    )


def _name(stride: int) -> str:
    return "global" if stride == GLOBAL else str(stride)


def _holes(strides: Axes) -> list[int]:
    """The one level missing among otherwise consecutive powers of two; several missing are a design, not a slip."""
    if len(strides) < 3:
        return []
    wanted, s = [], strides[0]
    while s < strides[-1]:
        wanted.append(s)
        s *= 2
    missing = [w for w in wanted if w not in strides]
    return missing if len(missing) == 1 else []


@check(requires=EVAL, cost="slow")
def check_translation_equivariance(ctx: Context) -> Measurement | None:
    """Shifting the input by the period shifts the output alike, away from the borders."""
    capabilities = ctx.capabilities
    radius = capabilities.receptive_field
    if radius is None:
        ctx.require(False, "no receptive field is known: global context, or too wide to measure")
        return None
    shift = capabilities.shift_period
    if shift is None:
        _expect_no_single_axis(ctx, radius)
        ctx.require(False, "no shift period is declared or found: absolute positions or aligned-corner resampling")
        return None
    errors = _shift_errors(ctx, radius, shift)
    error = max(errors)
    if not error <= 1e-9:
        raise CheckFailed(
            f"shifting the input by the period {list(shift)} along axis {errors.index(error)} changes the output by "
            f"{error:.3g} at distance {list(radius)} from the borders, expected at most 1e-9: absolute positions, "
            "align_corners=True, swapped axes of a grid, or a crop that moves with the size",
            error,
            1e-9,
        )
    return Measurement(error, 1e-9)


def _shift_errors(ctx: Context, radius: Axes, shift: Axes) -> list[float]:
    """What shifting along each axis changes."""
    model = ctx.eval_model()
    by_axis = enumerate(zip(radius, shift, strict=True))
    return [
        shift_error(model, lambda size: ctx.input(1, size), ctx.capabilities, axis, r, p) for axis, (r, p) in by_axis
    ]


def _expect_no_single_axis(ctx: Context, radius: Axes) -> None:
    """A network that follows shifts along some axes but not along others has its axes mixed up."""
    shift = period(ctx.capabilities)
    follows = [error < 1e-9 for error in _shift_errors(ctx, radius, shift)]
    expect(
        all(follows) or not any(follows),
        f"the output follows shifts by {list(shift)} along axes {[a for a, f in enumerate(follows) if f]} but not "
        f"along {[a for a, f in enumerate(follows) if not f]}: one axis is treated with the other's size or stride",
    )


@check(requires=EVAL, cost="slow")
def check_receptive_field(ctx: Context) -> Measurement | None:
    """Outputs in the center and in the corners depend on no input pixel beyond the receptive field."""
    capabilities = ctx.capabilities
    radius = capabilities.receptive_field
    if radius is None:
        ctx.require(False, "no receptive field is known: global context, or too wide to measure")
        return None
    model = ctx.eval_model()
    block = period(capabilities)
    size = _wide(ctx, radius)
    # The radius tells how many blocks of one period a block reaches, so it tells its dual in whole blocks as well.
    limit = tuple(-(-r // p) * p for r, p in zip(radius, block, strict=True))
    furthest = 0.0
    for place in ("center", "near corner", "far corner", "other corner"):
        x = ctx.input(1, size).requires_grad_()
        out = ctx.output(model, x)
        where = _block_at(place, tuple(out.shape[2:]), block)
        (gradient,) = torch.autograd.grad(ctx.loss(out[space(where)]), x)
        start = tuple(w.start + m // 2 for w, m in zip(where, capabilities.margin, strict=True))
        touched = gradient.abs() > 1e-12 * gradient.abs().max()
        reached = extent(touched, start, block)
        furthest = max(furthest, max(r / max(c, 1) for r, c in zip(reached, limit, strict=True)))
        expect(
            all(r <= c for r, c in zip(reached, limit, strict=True)),
            f"the output in the {place} of {list(size)} depends on input {list(reached)} pixels away, receptive field "
            f"{list(radius)}: global pooling or norm, circular padding, or a radius declared too small",
            furthest,
            1.0,
        )
    return Measurement(furthest, 1.0)


def _wide(ctx: Context, radius: Axes) -> Axes:
    """A legal size, a multiple of the period, at whose center the receptive field does not meet the border."""
    capabilities = ctx.capabilities
    rules = zip(radius, capabilities.margin, period(capabilities), capabilities.size_offset, strict=True)
    return capabilities.legal(
        tuple((-(-(2 * max(r, m // 2) + p) // p) + 2 + axis) * p + o for axis, (r, m, p, o) in enumerate(rules))
    )


def _block_at(place: str, size: Axes, block: Axes) -> list[slice]:
    starts = {
        "center": [(s // 2) // p * p for s, p in zip(size, block, strict=True)],
        "near corner": [0] * len(size),
        "far corner": [max(s - p, 0) for s, p in zip(size, block, strict=True)],
        "other corner": [0] + [max(s - p, 0) for s, p in zip(size[1:], block[1:], strict=True)],
    }[place]
    return [slice(a, a + p) for a, p in zip(starts, block, strict=True)]


@check(requires=EVAL, cost="slow")
def check_tiling(ctx: Context) -> Measurement | None:
    """Tiles that overlap by the receptive field, rounded up to the period, match the whole image.

    The image is just large enough, then as long as `LONG` tells: some networks treat large images in a way of their
    own.
    """
    capabilities = ctx.capabilities
    radius, shift = capabilities.receptive_field, capabilities.shift_period
    if radius is None or shift is None:
        ctx.require(False, "no receptive field and shift period are known")
        return None
    ctx.require(not any(capabilities.margin), "the network crops its output")
    halo = tuple(-(-r // p) * p for r, p in zip(radius, shift, strict=True))
    least = tuple((1 + axis) * p for axis, p in enumerate(shift))
    cases = [(least, tuple(2 * (h + c) for h, c in zip(halo, least, strict=True)))]
    for axis in (0, capabilities.ndim - 1):
        # Along the length the cores are as wide as the halos, or the halos would be most of the work.
        core = tuple(max(c, 2 * h) if a == axis else c for a, (c, h) in enumerate(zip(least, halo, strict=True)))
        length = -(-LONG[capabilities.ndim] // shift[axis]) * shift[axis]
        long = tuple(max(s, length) if a == axis else s for a, s in enumerate(cases[0][1]))
        cases.append((core, long))
    if capabilities.ndim == 2:
        # Tiles that are higher than wide, of an image that is wider than high: some networks ask which it is.
        taller = (-(-(least[1] + 2 * halo[1]) // shift[0]) * shift[0], least[1])
        height = taller[0] + 2 * halo[0]
        cases.append((taller, (height, -(-(height + shift[1]) // least[1]) * least[1] + 2 * halo[1])))
    model = ctx.eval_model()
    figures = []
    for core, wanted in dict.fromkeys(cases):
        size = capabilities.legal(wanted)
        window = tuple(2 * h + c for h, c in zip(halo, core, strict=True))
        x = ctx.input(1, size)
        steps = max((s - w) // c for s, w, c in zip(size, window, core, strict=True))
        starts = [
            tuple(min(step, (s - w) // c) * c for s, w, c in zip(size, window, core, strict=True))
            for step in range(steps + 1)
        ]
        tiles = [x[space(slice(a, a + w) for a, w in zip(start, window, strict=True))] for start in starts]
        with torch.no_grad():
            whole, parts = ctx.output(model, x), ctx.output(model, torch.cat(tiles))
        inner = parts[space(slice(h, h + c) for h, c in zip(halo, core, strict=True))]
        for start, part in zip(starts, inner, strict=True):
            place = space(slice(a + h, a + h + c) for a, h, c in zip(start, halo, core, strict=True))
            what = f"the tile at {list(start)} with a halo of {list(halo)} against the whole image of {list(size)}"
            figures.append(agree(part[None], whole[place], 1e-9, what))
    return worst(figures)


@check(devices="both", core=True)
def check_finite_degenerate(ctx: Context) -> None:
    """Flat, negative, huge and tiny inputs give finite logits and gradients, in eval and training mode."""
    noise = ctx.input(dtype=torch.float32)
    inputs = {
        "zeros": torch.zeros_like(noise),
        "ones": torch.ones_like(noise),
        "a constant -3": torch.full_like(noise, -3.0),
        "noise times 1e3": 1e3 * noise,
        "noise times 1e-6": 1e-6 * noise,
        "one channel of zeros": noise
        * (torch.arange(noise.shape[1], device=noise.device) > 0).view(-1, *[1] * ctx.capabilities.ndim),
        "one image of zeros": noise
        * (torch.arange(len(noise), device=noise.device) > 0).view(-1, *[1] * (noise.dim() - 1)),
    }
    models = {"eval": ctx.eval_model(dtype=torch.float32), "training": ctx.train_model(dtype=torch.float32)}
    # In float64: through deep batch normalization of a flat image, sound gradients overflow float32.
    exact = ctx.train_model(dtype=torch.float64)
    for name, x in inputs.items():
        for mode, model in models.items():
            with torch.no_grad():
                finite = all(bool(out.isfinite().all()) for out in ctx.outputs(model, x))
            expect(finite, f"{name}: logits are not finite in {mode} mode: a division by std, max or sum without eps")
        exact.zero_grad(set_to_none=True)
        outputs = ctx.outputs(exact, x.double())
        if all(out.requires_grad for out in outputs):
            ctx.loss(outputs).backward()
            bad = [n for n, p in exact.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
            expect(not bad, f"{name}: gradients of {bad[:4]} are not finite: a sqrt, log or norm at zero")


@check(requires=EVAL)
def check_nan_locality(ctx: Context) -> None:
    """A NaN pixel or a bright one changes no output beyond the receptive field.

    But for those that any value there would pass by: attention multiplies what it masks by zero, and NaN stays NaN.
    """
    capabilities = ctx.capabilities
    radius = capabilities.receptive_field
    if radius is None:
        ctx.require(False, "no receptive field is known: global context, or too wide to measure")
        return
    model = ctx.eval_model()
    wide = _wide(ctx, tuple(-(-r // 2) for r in radius))
    square = capabilities.legal((max(wide),) * capabilities.ndim)  # where swapped axes do not show in the shape
    block = period(capabilities)
    limit = tuple(r + p for r, p in zip(radius, block, strict=True))
    for size, place in ((wide, "near corner"), (wide, "far corner"), (square, "other corner")):
        at = tuple(w.start for w in _block_at(place, size, block))
        x = ctx.input(1, size)
        with torch.no_grad():
            spoilt = ctx.output(model, _with_pixel(x, at, torch.nan)).isnan()
            reached = extent(spoilt, at, (1,) * capabilities.ndim, capabilities.margin)
            if any(r > c for r, c in zip(reached, limit, strict=True)):
                low, high = (ctx.output(model, _with_pixel(x, at, value)) for value in (-100.0, 100.0))
                reached = extent(
                    (low - high).abs() > 1e-12 * low.abs().max(), at, (1,) * capabilities.ndim, capabilities.margin
                )
        expect(
            all(r <= c for r, c in zip(reached, limit, strict=True)),
            f"NaN in the {place} of {list(size)} spoils outputs {list(reached)} pixels away, receptive field "
            f"{list(radius)}",
            max(reached),
            max(limit),
        )
    with torch.no_grad():
        out = ctx.output(model, x)
        changed = (ctx.output(model, _with_pixel(x, at, 100.0)) - out).abs() > 1e-9 * out.abs().max()
    reached = extent(changed, at, (1,) * capabilities.ndim, capabilities.margin)
    expect(
        all(r <= c for r, c in zip(reached, limit, strict=True)),
        f"a pixel of 100 in the {place} of {list(size)} changes outputs {list(reached)} pixels away, receptive field "
        f"{list(radius)}: a maximum or norm over the image, behind a detach or a test of its size",
        max(reached),
        max(limit),
    )


def _with_pixel(x: Tensor, at: Axes, value: float) -> Tensor:
    """A copy in which the first channel of this pixel has another value."""
    x = x.clone()
    x[:1, :1][space(at)] = value
    return x
