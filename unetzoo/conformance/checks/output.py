"""The output contract: shape, type, dtype, channels and values of the logits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unetzoo.conformance.check import CREATE, CheckFailed, Measurement, agree, check, expect
from unetzoo.conformance.claims import Axes
from unetzoo.conformance.context import Context
from unetzoo.conformance.failure import describe

REFUSALS = (TypeError, ValueError, RuntimeError, NotImplementedError, AssertionError, IndexError)


@check(requires=CREATE, devices="both")
def check_forward_runs(ctx: Context) -> None:
    """A forward runs in training and in eval mode and returns tensors."""
    ctx.outputs(ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32))
    model = ctx.train_model(dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        ctx.outputs(model, ctx.input(dtype=torch.float32))


@check(devices="both")
def check_output_shape(ctx: Context) -> None:
    """Logits are (N, num_classes, *size) for square, rectangular, odd and minimum sizes and for batches of 1, 2 and 3."""
    model = ctx.eval_model(dtype=torch.float32)
    with torch.no_grad():
        for size in ctx.sizes():
            _expect_shape(ctx, ctx.output(model, ctx.input(size=size, dtype=torch.float32)), 2, size)
        for batch in (1, 3):
            _expect_shape(ctx, ctx.output(model, ctx.input(batch, dtype=torch.float32)), batch, ctx.size)
        model.train()
        _expect_shape(ctx, ctx.output(model, ctx.input(dtype=torch.float32)), 2, ctx.size, "in training mode ")
        model.eval()
        if not {"divisor", "fixed_size", "margin"} & ctx.claims.declared and not any(ctx.claims.margin):
            for size in _illegal_sizes(ctx):
                _expect_honest_size(ctx, model, size)


def _expect_shape(ctx: Context, out: Tensor, batch: int, size: Axes, when: str = "", classes: int | None = None) -> None:
    wanted = [batch, ctx.num_classes if classes is None else classes, *ctx.claims.output_size(size)]
    got = list(out.shape)
    hint = ""
    if got[2:] == wanted[:1:-1] and got[:2] == wanted[:2]:
        hint = ": the spatial axes are swapped"
    elif len(got) == len(wanted) and got[1:] == [*wanted[2:], wanted[1]]:
        hint = ": channels are last"
    expect(got == wanted, f"{when}an input of {[batch, ctx.in_channels, *size]} gave {got}, expected {wanted}{hint}")


def _illegal_sizes(ctx: Context) -> Iterator[Axes]:
    """Sizes off the divisor by one pixel, on each axis that has one."""
    for axis, divisor in enumerate(ctx.claims.divisor):
        if divisor > 1:
            yield tuple(s + (a == axis) for a, s in enumerate(ctx.size))


def _expect_honest_size(ctx: Context, model: nn.Module, size: Axes) -> None:
    """A size that does not work must be refused, not answered with an output of another size."""
    try:
        out = ctx.output(model, ctx.input(size=size, dtype=torch.float32))
    except REFUSALS:
        return
    expect(
        tuple(out.shape[2:]) == size,
        f"an input of {list(size)} gave an output of {list(out.shape[2:])}, expected {list(size)}: resize features to the "
        f"skip's size, pad, or refuse the size (works at multiples of {list(ctx.claims.divisor)}; declare `divisor` if it "
        "is meant to be so)",
    )


@check()
def check_output_type(ctx: Context) -> None:
    """Eval mode returns one tensor; training mode a tensor, or the declared list of logits, finest first."""
    option: dict[str, object] = {"deep_supervision": True} if "deep_supervision" in ctx.claims.supports else {}
    for options in [{}, option] if option else [{}]:
        built = f" (built with {options})" if options else ""
        model = ctx.train_model(dtype=torch.float32, **options)
        result = model(ctx.input(dtype=torch.float32))
        expect(
            isinstance(result, (Tensor, list, tuple)),
            f"training mode{built} returned {type(result).__name__}, expected a tensor or a list of tensors",
        )
        if isinstance(result, Tensor):
            expect(
                not options and ctx.claims.outputs_train == 1,
                f"training mode{built} returned one tensor, expected a list of several logits",
            )
        else:
            _expect_training_outputs(ctx, list(result), built, default=not options)
        model.eval()
        with torch.no_grad():
            result = model(ctx.input(dtype=torch.float32))
        expect(
            isinstance(result, Tensor),
            f"eval mode{built} returned {_kind(result)}, expected one tensor of logits",
        )


def _kind(result: object) -> str:
    many = f" of {len(result)}" if isinstance(result, (list, tuple, dict)) else ""
    return f"{type(result).__name__}{many}"


def _expect_training_outputs(ctx: Context, outputs: list[object], built: str, *, default: bool) -> None:
    claims = ctx.claims
    tensors = [t for t in outputs if isinstance(t, Tensor)]
    expect(
        len(tensors) == len(outputs),
        f"training mode{built} returned a list of {[_kind(o) for o in outputs]}, expected tensors alone",
    )
    if default:
        expect(
            len(tensors) == claims.outputs_train,
            f"training mode{built} returned {len(tensors)} tensors, declared outputs_train={claims.outputs_train}",
        )
    shapes = [list(t.shape) for t in tensors]
    expect(
        all(s[:2] == [2, ctx.num_classes] for s in shapes),
        f"training mode{built} returned shapes {shapes}, expected (2, {ctx.num_classes}, *spatial) of each",
    )
    pixels = [t[0, 0].numel() for t in tensors]
    expect(pixels == sorted(pixels, reverse=True), f"training outputs{built} are not finest first: {shapes}")
    first = list(claims.output_size(ctx.size))
    expect(shapes[0][2:] == first, f"the finest training output{built} is {shapes[0][2:]}, expected {first}")
    if default and claims.ds_strides is not None and "ds_strides" in claims.declared:
        wanted = [[-(-s // stride) for s in first] for stride in claims.ds_strides]
        expect([s[2:] for s in shapes] == wanted, f"training outputs{built} are {shapes}, declared strides give {wanted}")


@check()
def check_num_classes(ctx: Context) -> None:
    """Any number of classes gives as many channels, never squeezed, each with logits of its own."""
    for classes in (1, 2, 3, 7):
        model = ctx.eval_model(dtype=torch.float32, num_classes=classes)
        with torch.no_grad():
            out = ctx.output(model, ctx.input(dtype=torch.float32))
        _expect_shape(ctx, out, 2, ctx.size, f"built with num_classes={classes}, ", classes)
        for i in range(classes):
            for j in range(i):
                expect(
                    not torch.equal(out[:, i], out[:, j]),
                    f"built with num_classes={classes}, logits of classes {j} and {i} are equal in every pixel",
                )


@check()
def check_in_channels(ctx: Context) -> None:
    """The network builds and runs with 1, 3 and 4 input channels, and refuses one channel more than it was built for."""
    for channels in (1, 3, 4):
        try:
            model = ctx.eval_model(dtype=torch.float32, in_channels=channels)
            with torch.no_grad():
                out = ctx.output(model, ctx.input(channels=channels, dtype=torch.float32))
        except Exception as error:
            raise CheckFailed(f"built with in_channels={channels}: {describe(error)}") from error
        wanted = [2, ctx.num_classes, *ctx.claims.output_size(ctx.size)]
        expect(list(out.shape) == wanted, f"in_channels={channels} gave {list(out.shape)}, expected {wanted}")
        _expect_refused(
            model,
            ctx.input(channels=channels + 1, dtype=torch.float32),
            f"{channels + 1} channels on a network built with in_channels={channels}",
        )


def _expect_refused(model: nn.Module, x: Tensor, what: str, naming: tuple[int, ...] = ()) -> None:
    try:
        with torch.no_grad():
            model(x)
    except REFUSALS as error:
        text = str(error)
        missing = [n for n in naming if str(n) not in text]
        expect(not missing, f"{what} raised {type(error).__name__}: {text[:200]!r}, which does not name {missing}")
    else:
        raise CheckFailed(f"{what} was accepted in silence (input {list(x.shape)}, {x.dtype}), expected an error")


@check()
def check_input_channels_used(ctx: Context) -> Measurement | None:
    """Every input channel has an influence of its own on the output."""
    smallest = torch.inf
    for channels in dict.fromkeys((max(ctx.in_channels, 2), 4)):
        model = ctx.eval_model(in_channels=channels)
        x = ctx.input(channels=channels).requires_grad_()
        (gradient,) = torch.autograd.grad(ctx.loss(ctx.output(model, x)), x)
        scale = float(gradient.abs().max())
        for i in range(channels):
            strength = float(gradient[:, i].abs().max()) / max(scale, 1e-300)
            smallest = min(smallest, strength)
            expect(strength > 1e-9, f"input channel {i} of {channels} has no influence on the output", strength, 1e-9)
            for j in range(i):
                apart = float((gradient[:, i] - gradient[:, j]).abs().max()) / scale
                smallest = min(smallest, apart)
                expect(
                    apart > 1e-9,
                    f"input channels {j} and {i} of {channels} have the same influence everywhere: they are averaged or summed",
                    apart,
                    1e-9,
                )
    return Measurement(smallest, 1e-9)


@check()
def check_min_size(ctx: Context) -> None:
    """The minimum size and its neighbours, mixed over the axes, work in eval and training mode."""
    claims = ctx.claims
    ctx.require(claims.fixed_size is None, "the network has one fixed size")
    low = claims.legal(claims.min_size)
    sizes = [low] + [
        tuple(s + k * d * (a == axis) for a, (s, d) in enumerate(zip(low, claims.divisor, strict=True)))
        for axis in range(claims.ndim)
        for k in (1, 3)
    ]
    for train in (False, True):
        model = ctx.train_model(dtype=torch.float32) if train else ctx.eval_model(dtype=torch.float32)
        mode = "training" if train else "eval"
        for size in sizes:
            try:
                with torch.no_grad():
                    out = ctx.output(model, ctx.input(size=size, dtype=torch.float32))
            except Exception as error:
                raise CheckFailed(
                    f"{list(size)} is legal (minimum {list(claims.min_size)}, multiples of {list(claims.divisor)}) but in "
                    f"{mode} mode: {describe(error)}"
                ) from error
            _expect_shape(ctx, out, 2, size, f"in {mode} mode ")
    if _is_ours(model) and min(low) > 1:
        below = tuple(max(1, s - d) for s, d in zip(low, claims.divisor, strict=True))
        _expect_value_error(ctx, below, "below the declared minimum")


@check()
def check_divisor(ctx: Context) -> None:
    """A size off the divisor is refused or answered at its own size, never with an output of some other size."""
    claims = ctx.claims
    ctx.require(max(claims.divisor) > 1 and claims.fixed_size is None, "every size is legal")
    ctx.require(not any(claims.margin), "the network crops its output")
    model = ctx.eval_model(dtype=torch.float32)
    for size in _illegal_sizes(ctx):
        if _is_ours(model):
            _expect_value_error(ctx, size, f"not a multiple of {list(claims.divisor)}")
        else:
            _expect_honest_size(ctx, model, size)


def _is_ours(model: nn.Module) -> bool:
    return getattr(model, "card", None) is not None and getattr(model, "config", None) is not None


def _expect_value_error(ctx: Context, size: Axes, rule: str) -> None:
    model = ctx.eval_model(dtype=torch.float32, warm=False)
    try:
        model(ctx.input(size=size, dtype=torch.float32))
    except ValueError:
        return
    except REFUSALS as error:
        raise CheckFailed(f"{list(size)} ({rule}) raised {type(error).__name__}, expected InputError: {error}") from error
    raise CheckFailed(f"{list(size)} ({rule}) was accepted, expected InputError")


@check()
def check_batch_one_train(ctx: Context) -> None:
    """A batch of one can be trained on."""
    ctx.require(ctx.claims.batch1_train, "batch1_train=False is claimed")
    model = ctx.train_model(dtype=torch.float32)
    try:
        ctx.loss(ctx.outputs(model, ctx.input(1, dtype=torch.float32))).backward()
    except Exception as error:
        raise CheckFailed(
            f"training on one image of {list(ctx.size)}: {describe(error)}. Batch normalisation after global pooling has "
            "one value a channel; use another normalisation there"
        ) from error


@check(level="should")
def check_empty_batch(ctx: Context) -> None:
    """An empty batch gives an empty output of the right shape."""
    model = ctx.eval_model(dtype=torch.float32)
    try:
        with torch.no_grad():
            out = ctx.output(model, ctx.input(0, dtype=torch.float32))
    except REFUSALS as error:
        ctx.require(ctx.claims.empty_batch, f"not claimed, and refused with {type(error).__name__}")
        raise CheckFailed(f"an empty batch is claimed to work: {describe(error)}") from error
    _expect_shape(ctx, out, 0, ctx.size)


@check()
def check_raw_logits(ctx: Context) -> Measurement | None:
    """Outputs are raw logits: both signs, no bound, no normalisation over the classes."""
    ranges: list[float] = []
    for classes in (1, 3):
        ranges.clear()
        low, high = torch.inf, -torch.inf
        for factor in (4.0, 64.0):
            spread = 0.0
            for seed in range(4):
                out = _loud_output(ctx, classes, factor, seed)
                spread = max(spread, float(out.max() - out.min()))
                low, high = min(low, float(out.min())), max(high, float(out.max()))
                _expect_unnormalised(out)
            ranges.append(spread)
        what = f"with num_classes={classes} and weights scaled by 4 and 64"
        expect(low < 0, f"{what} no logit is below {low:.3g}: a ReLU, softplus or sigmoid in the head", low, 0.0)
        expect(high > 0, f"{what} no logit is above {high:.3g}: a log-softmax or log-sigmoid in the head", high, 0.0)
        expect(ranges[0] > 4, f"{what} logits span {ranges[0]:.3g} only: sigmoid, softmax or tanh in the head", ranges[0], 4)
        expect(
            ranges[1] > 3 * ranges[0],
            f"{what} logits span {ranges[0]:.3g} and {ranges[1]:.3g}: bounded by a clamp or a scaled tanh in the head",
            ranges[1] / ranges[0],
            3,
        )
    return Measurement(ranges[1] / ranges[0], 3)


def _loud_output(ctx: Context, classes: int, factor: float, seed: int) -> Tensor:
    """Logits of a network with enlarged weights and no offset, on loud input."""
    model = ctx.train_model(num_classes=classes, seed=seed)
    generator = ctx.generator(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(ctx.device)
            keep = 0.0 if name.endswith("bias") else 1.0
            parameter.copy_(factor * (keep * parameter + 0.05 * noise))
        for _ in range(2):
            model(10 * ctx.input(seed=seed + 100))
        model.eval()
        return ctx.output(model, 10 * ctx.input(seed=seed))


def _expect_unnormalised(out: Tensor) -> None:
    if out.shape[1] < 2:
        return
    total, log_total = out.sum(1), out.logsumexp(1)
    expect(float((total - 1).abs().max()) > 1e-3, "logits sum to 1 over the classes in every pixel: a softmax in the head")
    expect(float(log_total.abs().max()) > 1e-3, "exp(logits) sums to 1 over the classes: a log-softmax in the head")


@check(devices="both")
def check_output_dtype(ctx: Context) -> None:
    """A network moved to a dtype takes and returns that dtype; a fresh one is float32."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for train in (False, True):
            model = ctx.train_model(dtype=dtype) if train else ctx.eval_model(dtype=dtype)
            with torch.no_grad():
                outputs = ctx.outputs(model, ctx.input(dtype=dtype))
            wrong = {out.dtype for out in outputs if out.dtype != dtype}
            mode = "training" if train else "eval"
            expect(not wrong, f"a {dtype} network given {dtype} returned {wrong} in {mode} mode, expected {dtype}")


@check(devices="both")
def check_output_fresh(ctx: Context) -> Measurement | None:
    """A later call leaves an earlier result alone, and results share no memory with input, parameters or buffers."""
    model = ctx.eval_model()
    x = ctx.input(seed=1)
    first = ctx.output(model, x)
    kept = first.detach().clone()
    second = ctx.output(model, ctx.input(seed=2))
    storages = {"the input": x, "the second result": second}
    storages |= {f"parameter {n!r}": p for n, p in model.named_parameters()}
    storages |= {f"buffer {n!r}": b for n, b in model.named_buffers()}
    mine = first.untyped_storage().data_ptr()
    for owner, tensor in storages.items():
        expect(tensor.untyped_storage().data_ptr() != mine, f"the output shares its memory with {owner}: return a new tensor")
    return agree(first, kept, 0.0, "the first result, after a second call on another input,", "An output buffer is reused")


class TaggedTensor(Tensor):
    """A subclass that adds nothing, as MetaTensor and TVTensor appear to a network."""


@check(level="should")
def check_tensor_subclass(ctx: Context) -> Measurement | None:
    """A subclass of torch.Tensor is taken as a tensor and gives equal values."""
    model = ctx.eval_model()
    x = ctx.input()
    out = ctx.output(model, x.as_subclass(TaggedTensor))
    return agree(out.as_subclass(Tensor), ctx.output(model, x), 1e-12, "the output for a Tensor subclass")


@check(level="should")
def check_invalid_input(ctx: Context) -> None:
    """Input of a wrong number of axes or channels, or of an integer dtype, is refused, not broadcast."""
    model = ctx.eval_model(dtype=torch.float32)
    good = ctx.input(dtype=torch.float32)
    named = _is_ours(model)
    expected = ctx.in_channels
    _expect_refused(model, good.unsqueeze(-1), f"an input of {good.dim() + 1} axes", (good.dim(),) if named else ())
    _expect_refused(model, good.flatten(2)[..., 0], "an input of 2 axes", (good.dim(),) if named else ())
    for channels in {1, expected + 1} - {expected}:
        x = ctx.input(channels=channels, dtype=torch.float32)
        what = f"{channels} channels on a network built with in_channels={expected}"
        _expect_refused(model, x, what, (channels, expected) if named else ())
    _expect_refused(model, (good * 50).to(torch.int64), "an input of dtype int64")
