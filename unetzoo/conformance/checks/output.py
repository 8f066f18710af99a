"""The output contract: shape, type, dtype, channels and values of the logits."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import CREATE, EVAL, check
from unetzoo.conformance.definition.context import Context, warm_statistics
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect
from unetzoo.conformance.measuring.failure import describe
from unetzoo.conformance.measuring.shapes import REFUSALS, expect_honest_size, expect_shape, illegal_sizes


@check(requires=CREATE, devices="both", core=True)
def check_forward_runs(ctx: Context) -> None:
    """A forward runs in training and in eval mode and returns tensors."""
    ctx.outputs(ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32))
    model = ctx.train_model(dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        ctx.outputs(model, ctx.input(dtype=torch.float32))


@check(devices="both", core=True)
def check_output_shape(ctx: Context) -> None:
    """Logits are (N, num_classes, *size) for square, long, odd and minimum sizes, in batches of 1 to 9."""
    model = ctx.eval_model(dtype=torch.float32)
    with torch.no_grad():
        for size in [*ctx.sizes(), *ctx.long_sizes()]:
            try:
                out = ctx.output(model, ctx.input(size=size, dtype=torch.float32))
            except REFUSALS as error:
                rule = f"minimum {list(ctx.capabilities.min_size)}, divisor {list(ctx.capabilities.divisor)}"
                raise CheckFailed(f"{list(size)} is legal ({rule}) but raised {describe(error)}") from error
            expect_shape(ctx, out, 2, size)
        for batch in (1, 3, 9):
            expect_shape(ctx, ctx.output(model, ctx.input(batch, dtype=torch.float32)), batch, ctx.size)
        model.train()
        for batch in (2, 3):
            out = ctx.output(model, ctx.input(batch, dtype=torch.float32))
            expect_shape(ctx, out, batch, ctx.size, "in training mode ")
        _expect_training_sizes(ctx, model)
        model.eval()
        if not {"divisor", "fixed_size", "margin"} & ctx.capabilities.declared and not any(ctx.capabilities.margin):
            for size in illegal_sizes(ctx):
                expect_honest_size(ctx, model, size)


def _expect_training_sizes(ctx: Context, model: nn.Module) -> None:
    """A training output that is as large as a square image is as large as any; of coarse ones no axes are swapped."""
    square, *others = ctx.sizes()
    if any(ctx.capabilities.margin):
        return
    whole = [out.shape[2:] for out in ctx.outputs(model, ctx.input(size=square, dtype=torch.float32))]
    for size in others:
        outputs = ctx.outputs(model, ctx.input(size=size, dtype=torch.float32))
        for index, (out, shape) in enumerate(zip(outputs, whole, strict=True)):
            got = tuple(out.shape[2:])
            order = sorted(range(len(got)), key=lambda axis: size[axis])
            rising = [got[axis] for axis in order]
            right = got == size if tuple(shape) == square else rising == sorted(rising) or len(set(shape)) > 1
            expect(
                right,
                f"in training mode, output {index} of {len(outputs)} is {list(got)} for an input of {list(size)}, "
                f"while it is {list(shape)} for one of {list(square)}: resize it to the target's size, axis by axis",
            )


@check(core=True)
def check_output_type(ctx: Context) -> None:
    """Eval mode returns one tensor; training mode a tensor, or the declared list of logits, finest first."""
    option: dict[str, object] = {"deep_supervision": True} if "deep_supervision" in ctx.capabilities.supports else {}
    for options in [{}, option] if option else [{}]:
        built = f" (built with {options})" if options else ""
        model = ctx.train_model(dtype=torch.float32, **options)  # type: ignore[arg-type]
        _expect_training_result(ctx, model(ctx.input(dtype=torch.float32)), built, default=not options)
        one: object = None
        with contextlib.suppress(*REFUSALS):  # reported by check_batch_one_train
            one = model(ctx.input(1, dtype=torch.float32))
        if one is not None:
            _expect_training_result(ctx, one, f"{built} of one image", default=not options, batch=1)
        model.eval()
        with torch.no_grad():
            result = model(ctx.input(dtype=torch.float32))
        expect(
            isinstance(result, Tensor),
            f"eval mode{built} returned {_kind(result)}, expected one tensor of logits",
        )
    for classes in {1, 5} - {ctx.num_classes}:
        result = ctx.train_model(dtype=torch.float32, num_classes=classes)(ctx.input(dtype=torch.float32))
        _expect_training_result(ctx, result, f" (built with num_classes={classes})", default=True, classes=classes)


def _kind(result: object) -> str:
    many = f" of {len(result)}" if isinstance(result, (list, tuple, dict)) else ""
    return f"{type(result).__name__}{many}"


def _expect_training_result(
    ctx: Context, result: object, built: str, *, default: bool, batch: int = 2, classes: int | None = None
) -> None:
    """A tensor, or a list of logits, finest first; by default as many as are declared."""
    expect(
        isinstance(result, (Tensor, list, tuple)),
        f"training mode{built} returned {type(result).__name__}, expected a tensor or a list of tensors",
    )
    if isinstance(result, (list, tuple)):
        channels = ctx.num_classes if classes is None else classes
        _expect_training_outputs(ctx, list(result), built, [batch, channels], default=default)
    else:
        expect(
            default and ctx.capabilities.outputs_train == 1,
            f"training mode{built} returned one tensor, expected a list of several logits",
        )


def _expect_training_outputs(
    ctx: Context, outputs: list[object], built: str, leading: list[int], *, default: bool
) -> None:
    capabilities = ctx.capabilities
    tensors = [t for t in outputs if isinstance(t, Tensor)]
    expect(
        len(tensors) == len(outputs),
        f"training mode{built} returned a list of {[_kind(o) for o in outputs]}, expected tensors alone",
    )
    if default:
        expect(
            len(tensors) == capabilities.outputs_train,
            f"training mode{built} gave {len(tensors)} tensors, declared outputs_train={capabilities.outputs_train}",
        )
    shapes = [list(t.shape) for t in tensors]
    expect(
        all(s[:2] == leading for s in shapes),
        f"training mode{built} returned shapes {shapes}, expected {leading} and the spatial axes of each",
    )
    pairs = [(i, j) for j in range(len(tensors)) for i in range(j) if shapes[i] == shapes[j]]
    same = [(i, j) for i, j in pairs if bool(tensors[i].any()) and torch.equal(tensors[i], tensors[j])]
    expect(not same, f"training outputs{built} {same} are equal in every pixel: one prediction is returned twice")
    pixels = [t[0, 0].numel() for t in tensors]
    expect(pixels == sorted(pixels, reverse=True), f"training outputs{built} are not finest first: {shapes}")
    first = list(capabilities.output_size(ctx.size))
    expect(shapes[0][2:] == first, f"the finest training output{built} is {shapes[0][2:]}, expected {first}")
    if default and capabilities.ds_strides is not None and "ds_strides" in capabilities.declared:
        wanted = [[-(-s // stride) for s in first] for stride in capabilities.ds_strides]
        expect(
            [s[2:] for s in shapes] == wanted, f"training outputs{built} are {shapes}, declared strides give {wanted}"
        )


@check(core=True)
def check_num_classes(ctx: Context) -> None:
    """Any number of classes gives that many channels, never squeezed, with logits that differ."""
    for classes in (1, 2, 7, 40):
        model = ctx.eval_model(dtype=torch.float32, num_classes=classes)
        with torch.no_grad():
            out = ctx.output(model, ctx.input(dtype=torch.float32))
        expect_shape(ctx, out, 2, ctx.size, f"built with num_classes={classes}, ", classes)
        for i in range(classes):
            for j in range(i):
                expect(
                    not torch.equal(out[:, i], out[:, j]),
                    f"built with num_classes={classes}, logits of classes {j} and {i} are equal in every pixel",
                )
        # Of two classes one map can be enough: its negative is the other's.
        correlation = out.transpose(0, 1).flatten(1).double().corrcoef().abs() if classes > 2 else torch.zeros(())
        expect(
            bool((correlation < 1 - 1e-6).any()),
            f"built with num_classes={classes}, all logits are multiples of one map: classes cannot be distinguished",
        )
        with torch.no_grad():
            alone = ctx.output(model, ctx.input(1, dtype=torch.float32))
            trained = ctx.outputs(model.train(), ctx.input(dtype=torch.float32))
        expect_shape(ctx, alone, 1, ctx.size, f"built with num_classes={classes}, ", classes)
        for index, output in enumerate(trained):
            got = list(output.shape)
            expect(
                output.dim() == ctx.capabilities.ndim + 2 and got[:2] == [2, classes],
                f"built with num_classes={classes}, output {index} of {len(trained)} in training mode is {got}, "
                f"expected {[2, classes]} and {ctx.capabilities.ndim} spatial axes",
            )


BALANCE = 0.03
"""Of the extreme logits of both signs, over several networks with weights of random signs."""


@check(core=True)
def check_raw_logits(ctx: Context) -> Measurement | None:
    """Outputs are raw logits: both signs, no bound, no normalization over the classes."""
    growth = [g for classes in (1, 2, 3, 7) for g in _growth(ctx, classes)]
    if ctx.capabilities.outputs_train > 1:  # the finest of them is the eval mode's
        growth += [g for classes in (1, 2) for g in _growth(ctx, classes, training=True)[1:]]
    return Measurement(min(growth), 3)


def _growth(ctx: Context, classes: int, *, training: bool = False) -> list[float]:
    """How much further the logits of each output spread with weights 16 times larger: they must be raw ones."""
    extremes: list[list[float]] = []
    ratios: list[float] = []
    for seed in range(8):
        loud = _loud_outputs(ctx, classes, 4.0, seed, training=training)
        for out in loud:
            _expect_unnormalized(out)
        before = extremes or [[] for _ in loud]
        extremes = [[*old, float(out.min()), float(out.max())] for old, out in zip(before, loud, strict=True)]
        if not any(ratios):  # a gate may silence some of the networks
            louder = _loud_outputs(ctx, classes, 64.0, seed, training=training)
            found = [_span(more) / max(_span(out), 1e-300) for more, out in zip(louder, loud, strict=True)]
            ratios = [ratio if math.isfinite(ratio) else math.inf for ratio in found]  # an overflow has no bound
        if any(ratios) and all(_balance(found) > BALANCE for found in extremes):
            break
    for index, ratio in enumerate(ratios):
        low, high = min(extremes[index]), max(extremes[index])
        what = f"{f'in training output {index}, ' if training else ''}with num_classes={classes} and enlarged weights"
        expect(low < 0, f"{what} no logit is negative: a ReLU, softplus or sigmoid in the head", low, 0.0)
        expect(high > 0, f"{what} no logit is positive: a log-softmax or log-sigmoid in the head", high, 0.0)
        balance = _balance(extremes[index])
        expect(
            balance > BALANCE,
            f"{what} logits reach from {low:.3g} to {high:.3g} over {seed + 1} networks: one sign is held down by an "
            "activation in the head, as LeakyReLU, ELU or GELU do",
            balance,
            BALANCE,
        )
        expect(
            ratio > 3,
            f"{what}, another 16 times larger, logits span {ratio:.3g} times as much, expected more than 3: bounded "
            "by a clamp or a scaled tanh in the head",
            ratio,
            3,
        )
    return ratios


def _span(out: Tensor) -> float:
    return float(out.max() - out.min())


def _balance(extremes: list[float]) -> float:
    """The largest logit of the rarer sign against the largest of the other; not positive where there is but one."""
    low, high = min(extremes), max(extremes)
    return min(-low, high) / max(-low, high, 1e-300)


def _loud_outputs(ctx: Context, classes: int, factor: float, seed: int, *, training: bool) -> list[Tensor]:
    """Outputs of a network with enlarged weights and no offset, on loud input."""
    model = ctx.train_model(num_classes=classes, seed=seed)
    generator = ctx.generator(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(ctx.device)
            keep = 0.0 if name.endswith("bias") else 1.0
            parameter.copy_(factor * (keep * parameter + 0.05 * noise))
        warm_statistics(model, 10 * ctx.input(seed=seed + 100))
        return ctx.outputs(model.train(training), 10 * ctx.input(seed=seed))


def _expect_unnormalized(out: Tensor) -> None:
    if out.shape[1] < 2:
        return
    total, log_total = out.sum(1), out.logsumexp(1)
    expect(
        float((total - 1).abs().max()) > 1e-3, "logits sum to 1 over the classes in every pixel: a softmax in the head"
    )
    expect(float(log_total.abs().max()) > 1e-3, "exp(logits) sums to 1 over the classes: a log-softmax in the head")


@check(devices="both", core=True)
def check_output_dtype(ctx: Context) -> None:
    """A network moved to a dtype takes and returns that dtype; as built it is float32."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for train in (False, True):
            model = ctx.train_model(dtype=dtype) if train else ctx.eval_model(dtype=dtype)
            mode = "training" if train else "eval"
            for size in dict.fromkeys((ctx.size, ctx.odd_size())):
                with torch.no_grad(), ctx.sixteen_bits():
                    outputs = ctx.outputs(model, ctx.input(size=size, dtype=dtype))
                wrong = {out.dtype for out in outputs if out.dtype != dtype}
                expect(
                    not wrong,
                    f"a {dtype} network given {dtype}, {list(size)}, returned {wrong} in {mode} mode, expected {dtype}",
                )


@check(requires=EVAL, devices="both")
def check_output_fresh(ctx: Context) -> Measurement | None:
    """A later call leaves an earlier result unchanged; results share no memory with input, parameters or buffers."""
    for batch in (2, 1):
        with torch.no_grad():
            _fresh(ctx, batch, "without a graph")
    outputs = ctx.outputs(ctx.train_model(), ctx.input())
    places = [out.untyped_storage().data_ptr() for out in outputs]
    expect(len(set(places)) == len(places), "training outputs share their memory: writing to one changes another")
    return _fresh(ctx, 2, "with a graph")


def _fresh(ctx: Context, batch: int, how: str) -> Measurement:
    model = ctx.eval_model()
    x = ctx.input(batch, seed=1)
    first = ctx.output(model, x)
    kept = first.detach().clone()
    second = ctx.output(model, ctx.input(batch, seed=2))
    storages = {"the input": x, "the second result": second}
    storages |= {f"parameter {n!r}": p for n, p in model.named_parameters()}
    storages |= {f"buffer {n!r}": b for n, b in model.named_buffers()}
    mine = first.untyped_storage().data_ptr()
    for owner, tensor in storages.items():
        expect(
            tensor.untyped_storage().data_ptr() != mine,
            f"the output {how} shares its memory with {owner}: return a new tensor",
        )
    expect(
        all(s > 0 for s, n in zip(first.stride(), first.shape, strict=True) if n > 1),
        f"the output of shape {list(first.shape)} has strides {list(first.stride())}: several entries share one number "
        "in memory, and writing to one writes to all. Return a tensor of its own, not an expanded view",
    )
    what = f"the first result {how}, after a second call on another input,"
    return agree(first, kept, 0.0, what, "An output buffer is reused")
