"""Initial weights: logits and gradients of a fresh network are of a size from which training starts."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from unetzoo.analysis.operations import leaves, watching
from unetzoo.conformance.definition.check import BACKWARD, CREATE, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, expect
from unetzoo.conformance.measuring.tracing import listing

LEAST_WITHOUT_NORM = 1e-4


@check(devices="both")
@torch.no_grad()
def check_init_statistics(ctx: Context) -> Measurement:
    """Logits at initialization have a standard deviation of 0.01 to 20 per channel and stay below 100.

    Without any normalization the spread halves with every layer of torch's default initialization, and still trains:
    such a network is held to `LEAST_WITHOUT_NORM`.
    Logits that explode start with a loss of hundreds, logits that vanish with gradients of nothing.
    """
    ctx.require(not ctx.capabilities.zero_init_output, "capabilities zero_init_output")
    few = _expect_moderate(ctx, ctx.num_classes)
    _expect_moderate(ctx, 7)
    return Measurement(few, 20)


def _expect_moderate(ctx: Context, classes: int) -> float:
    """The spread of the first output of a fresh network; all of them are held to the bounds."""
    model = ctx.train_model(dtype=torch.float32, num_classes=classes)
    normalized = any("norm" in f"{name} {type(m).__name__}".lower() for name, m in model.named_modules())
    least = 1e-2 if normalized else LEAST_WITHOUT_NORM
    spreads: dict[str, float] = {}

    def note(name: str, module: nn.Module, args: object, result: object) -> None:
        tensors = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.is_floating_point()]
        if tensors and name not in spreads:
            spreads[name] = _spread(tensors[0])

    with watching([(name, module) for name, module in leaves(model) if name], note):
        outputs = ctx.outputs(model, ctx.input(dtype=torch.float32))
    for index, out in enumerate(outputs):
        spread, largest = _spread(out), float(out.abs().max())
        name = f"{f'output {index}' if len(outputs) > 1 else 'the output'} with num_classes={classes}"
        along = f"Spread along the layers: {_profile(spreads)}"
        hint = "Initialize by the fan-in (He et al. 2015) or normalize"
        expect(
            least <= spread <= 20,
            f"fresh logits of {name} have a standard deviation of {spread:.3g} within a channel, expected {least:g} to "
            f"20. {along}. {hint}, or declare zero_init_output",
            spread,
            20 if spread > 1 else least,
        )
        expect(
            largest < 100, f"fresh logits of {name} reach {largest:.3g}, expected < 100. {along}. {hint}", largest, 100
        )
    return _spread(outputs[0])


def _spread(t: Tensor) -> float:
    """Standard deviation about each channel's mean; NaN for what is not finite."""
    if t.dim() < 3:
        return float(t.float().std(correction=0))
    axes = [0, *range(2, t.dim())]
    return float((t.float() - t.float().mean(dim=axes, keepdim=True)).square().mean().sqrt())


def _profile(spreads: dict[str, float]) -> str:
    """The layers at which the spread changes most, in order."""
    names = list(spreads)
    ratio = {}
    for before, after in pairwise(names):
        low, high = sorted((spreads[before], spreads[after]))
        ratio[after] = high / low if low > 0 else float("inf")
    top = sorted(ratio, key=lambda n: -ratio[n])[:3]
    changes = [f"{spreads[names[names.index(n) - 1]]:.3g} -> {spreads[n]:.3g} at {n}" for n in names if n in top]
    return ", ".join(changes) or "one layer only"


@check(requires=CREATE)
def check_init_symmetry(ctx: Context) -> None:
    """No weight is initialized with all its filters equal; all zero is allowed.

    Equal filters get equal gradients and stay equal: a layer of constants is one channel wide for ever.
    """
    model = ctx.build()
    equal = [
        f"{name}.{key} {list(p.shape)}".lstrip(".")
        for name, module in model.named_modules()
        for key, p in module.named_parameters(recurse=False)
        if _filters_equal(module, p.detach())
    ]
    expect(
        not equal,
        f"all filters are equal in {listing(equal)}: they will stay so. Draw them at random",
        len(equal),
        0,
    )


def _filters_equal(module: nn.Module, weight: Tensor) -> bool:
    if weight.dim() < 2 or not bool(weight.any()):
        return False
    layer = isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    if isinstance(module, nn.modules.conv._ConvNd) and module.groups == module.out_channels:
        return False  # depthwise filters see a channel each: equal ones do not stay equal
    if not layer and (bool((weight == 1).all()) or "norm" in type(module).__name__.lower()):
        return False  # a scale
    filters = weight.transpose(0, 1) if isinstance(module, nn.modules.conv._ConvTransposeNd) else weight
    filters = filters.flatten(1)
    steps = filters[0].diff()
    if not layer and bool((steps > 0).all() or (steps < 0).all()):
        return False  # a range, such as the rates of decay of a state space
    return len(filters) > 1 and filters.shape[1] > 1 and bool((filters == filters[0]).all())


@check(requires=BACKWARD)
def check_zero_init(ctx: Context) -> None:
    """Weights that are initialized to zero leave it within eight training steps.

    A residual branch may begin at nothing, but by one factor: of two that are zero neither has a gradient, ever.
    """
    model = ctx.train_model()
    zero = {n: p for n, p in model.named_parameters() if p.dim() >= 2 and p.requires_grad and not bool(p.any())}
    ctx.require(zero, "no weight begins at zero")
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    size = ctx.capabilities.legal(
        tuple(2 * s for s in ctx.size)
    )  # attention over a single token rightly has no gradient
    for step in range(8):
        optimizer.zero_grad()
        ctx.loss(ctx.outputs(model, ctx.input(size=size, seed=step)), seed=step).backward()
        optimizer.step()
    stuck = [name for name, p in zero.items() if not bool(p.any())]
    expect(
        not stuck,
        f"{listing(stuck)} of {len(zero)} weights that begin at zero are there after eight steps: what they are "
        "multiplied by is zero too, or an activation behind them has no slope there. Begin one of the two at random",
        len(stuck),
        0,
    )


@check(requires=BACKWARD, level="advice")
def check_init_grad_scale(ctx: Context) -> Measurement:
    """At initialization, no layer's gradient is a million times that of another.

    Layers whose gradients vanish do not learn while others do, at any learning rate. Scales that start at nothing by
    intention (layer scale, zero-initialized residuals) are moved off first.
    """
    model = ctx.train_model(perturb=True)
    ctx.loss(ctx.outputs(model, ctx.input())).backward()
    sizes = {
        n: float(p.grad.square().mean().sqrt())
        for n, p in model.named_parameters()
        if p.dim() >= 2 and p.grad is not None and bool(p.grad.any())
    }
    ctx.require(sizes, "no weight has a gradient at initialization")
    least, most = min(sizes, key=lambda n: sizes[n]), max(sizes, key=lambda n: sizes[n])
    ratio = sizes[most] / sizes[least]
    expect(
        ratio < 1e6,
        f"the root mean square gradient of {most!r} is {sizes[most]:.3g}, that of {least!r} {sizes[least]:.3g}: a "
        f"ratio of {ratio:.3g}, expected < 1e6. Look for saturated activations or missing normalization between them",
        ratio,
        1e6,
    )
    return Measurement(ratio, 1e6)
