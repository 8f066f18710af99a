"""The input contract: channels, sizes, batches, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, NotApplicable, agree, expect
from unetzoo.conformance.measuring.failure import describe
from unetzoo.conformance.measuring.shapes import REFUSALS, expect_honest_size, expect_shape, illegal_sizes
from unetzoo.conformance.measuring.tracing import brief, listing


@check(core=True)
def check_in_channels(ctx: Context) -> None:
    """The network runs with 1, 3 and 4 input channels, and refuses one channel more than it was built for."""
    for channels in (1, 3, 4):
        try:
            model = ctx.eval_model(dtype=torch.float32, in_channels=channels)
            with torch.no_grad():
                out = ctx.output(model, ctx.input(channels=channels, dtype=torch.float32))
        except Exception as error:
            raise CheckFailed(f"built with in_channels={channels}: {describe(error)}") from error
        wanted = [2, ctx.num_classes, *ctx.capabilities.output_size(ctx.size)]
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
        raise CheckFailed(f"{what} was silently accepted (input {list(x.shape)}, {x.dtype}), expected an error")


@check()
def check_input_channels_used(ctx: Context) -> Measurement | None:
    """Each input channel influences the output in its own way."""
    smallest = torch.inf
    for channels in dict.fromkeys((max(ctx.in_channels, 2), 4)):
        model = ctx.eval_model(in_channels=channels)
        x = ctx.input(channels=channels).requires_grad_()
        (gradient,) = torch.autograd.grad(ctx.loss(ctx.output(model, x)), x)
        scale = float(gradient.abs().max())
        for i in range(channels):
            strength = float(gradient[:, i].abs().max()) / max(scale, 1e-300)
            smallest = min(smallest, strength)
            expect(strength > 1e-6, f"input channel {i} of {channels} has no influence on the output", strength, 1e-6)
            for j in range(i):
                apart = float((gradient[:, i] - gradient[:, j]).abs().max()) / scale
                smallest = min(smallest, apart)
                expect(
                    apart > 1e-6,
                    f"input channels {j} and {i} of {channels} have the same influence everywhere: they are "
                    "averaged or summed",
                    apart,
                    1e-6,
                )
    return Measurement(smallest, 1e-6)


@check(requires=EVAL)
def check_input_sensitivity(ctx: Context) -> Measurement | None:
    """Pixels of every range of values influence the output: negative, 0 to 1, above 1, and in the thousands.

    Computed tomography and 16-bit images come as they are: a network that clamps what it was not trained on hides it.
    """
    loud = 3000 * ctx.input()
    with torch.no_grad():
        model = _that_speaks(ctx, loud)
        spoilt = ctx.output(model, torch.full_like(loud, torch.nan))
        expect(bool(spoilt.isnan().all()), "an image of NaN gives numbers: the input is cleaned, and faults go unseen")
        out = ctx.output(model, loud)
        for side, clamped in (("above 1000", loud.clamp(max=1000)), ("below -1000", loud.clamp(min=-1000))):
            same = torch.equal(ctx.output(model, clamped), out)
            expect(not same, f"values {side} have no influence on the output: the input is clamped")
    share, four = _least_share(ctx, model, 1.5 * ctx.input()), 1.5 * ctx.input(channels=4)
    try:
        wide = _that_speaks(ctx, four)
    except REFUSALS:  # reported by check_in_channels
        return Measurement(share, 0.8)
    return Measurement(min(share, _least_share(ctx, wide, four)), 0.8)


def _least_share(ctx: Context, model: nn.Module, x: Tensor) -> float:
    """The least share, over channels and ranges of values, of pixels that have an influence."""
    channels = x.shape[1]
    x.requires_grad_()
    out = ctx.output(model, x)
    strength = torch.zeros_like(x)
    for seed in range(3):
        (gradient,) = torch.autograd.grad(ctx.loss(out, seed), x, retain_graph=True)
        strength = torch.maximum(strength, gradient.abs())
    ranges = {"negative": x < 0, "between 0 and 1": (x >= 0) & (x <= 1), "above 1": x > 1, "below -1": x < -1}
    least = 1.0
    for (name, where), channel in itertools.product(ranges.items(), range(channels)):
        share = float((strength[:, channel][where[:, channel]] > 0).double().mean())
        least = min(least, share)
        expect(
            share > 0.8,
            f"of the pixels {name} of input channel {channel} of {channels} {share:.0%} influence the output, expected "
            "more than 80 %: the input is clamped or rectified",
            share,
            0.8,
        )
    return least


def _that_speaks(ctx: Context, x: Tensor) -> nn.Module:
    """A network in eval mode that has logits for `x`: a gate that decides for the whole image may silence some."""
    for seed in range(8):
        model = ctx.eval_model(seed=seed, in_channels=x.shape[1])
        if bool(ctx.output(model, x).any()):
            break
    return model


@check(core=True)
def check_min_size(ctx: Context) -> None:
    """The minimum size and slightly larger ones, mixed over the axes, work in eval and training mode."""
    capabilities = ctx.capabilities
    ctx.require(capabilities.fixed_size is None, "the network has one fixed size")
    low = capabilities.legal(capabilities.min_size)
    sizes = [low] + [
        tuple(s + k * d * (a == axis) for a, (s, d) in enumerate(zip(low, capabilities.divisor, strict=True)))
        for axis in range(capabilities.ndim)
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
                    f"{list(size)} is legal (minimum {list(capabilities.min_size)}, multiples of "
                    f"{list(capabilities.divisor)}) but in "
                    f"{mode} mode: {describe(error)}"
                ) from error
            expect_shape(ctx, out, 2, size, f"in {mode} mode ")
    if _is_ours(model):
        below = tuple(max(1, s - d) for s, d in zip(low, capabilities.divisor, strict=True))
        if min(low) > 1:
            _expect_value_error(ctx, below, "below the declared minimum")
    elif not any(capabilities.margin) and not {"divisor", "min_size"} & capabilities.declared:
        model.eval()
        for size in _small_sizes(ctx):
            expect_honest_size(ctx, model, size)


def _small_sizes(ctx: Context) -> Iterator[Axes]:
    """Multiples of the divisor that a network may refuse for being small: along one axis, and along all.

    What is no multiple is left out: where maps are added, one of a single pixel fits any other by broadcasting.
    """
    capabilities = ctx.capabilities
    for few in (1, 2, 3, 6):
        one = [tuple(few if a == axis else s for a, s in enumerate(ctx.size)) for axis in range(capabilities.ndim)]
        for size in (*one, (few,) * capabilities.ndim):
            if all(n % d == o for n, d, o in zip(size, capabilities.divisor, capabilities.size_offset, strict=True)):
                yield size


@check(core=True)
def check_divisor(ctx: Context) -> None:
    """A size that is not a multiple of the divisor is refused or answered at its own size, never at another one.

    A network that answers what is off it along all axes alike, and refuses what is off along one, pads the wrong axis.
    """
    capabilities = ctx.capabilities
    ctx.require(max(capabilities.divisor) > 1 and capabilities.fixed_size is None, "every size is legal")
    ctx.require(not any(capabilities.margin), "the network crops its output")
    model = ctx.eval_model(dtype=torch.float32)
    sizes = list(illegal_sizes(ctx))
    if _is_ours(model):
        for size in sizes:
            _expect_value_error(ctx, size, f"not a multiple of {list(capabilities.divisor)}")
        return
    refused = [list(size) for size in sizes if not expect_honest_size(ctx, model, size)]
    alike = tuple(s + (d > 1) for s, d in zip(ctx.size, capabilities.divisor, strict=True))
    expect(
        not refused or alike in sizes or not expect_honest_size(ctx, model, alike),
        f"an image of {list(alike)} is answered and {refused} are refused: where a map is padded or cropped to another "
        "the axes are mixed up (F.pad begins with the last)",
    )
    _expect_one_rule(ctx, model)


def _expect_one_rule(ctx: Context, model: nn.Module) -> None:
    """A network that tests its sizes itself, by a ValueError, tests all of them, and names the right number."""
    refused: dict[Axes, Exception] = {}
    for axis, divisor in enumerate(ctx.capabilities.divisor):
        for step in {1, divisor // 2} - {divisor, 0}:
            size = tuple(s + step * (a == axis) for a, s in enumerate(ctx.size))
            try:
                ctx.output(model, ctx.input(size=size, dtype=torch.float32))
            except REFUSALS as error:
                refused[size] = error
                rule = re.search(r"(?:multiples? of|divisible by)\D{0,9}(\d+)(?![\d\s]*[*^])", str(error))
                misled = rule and int(rule[1]) % divisor and str(divisor) not in re.findall(r"\d+", str(error))
                expect(
                    not misled,
                    f"{list(size)} is refused with {brief(error)!r}, while what works along axis {axis} are "
                    f"multiples of {divisor}",
                )
    tested = [size for size, error in refused.items() if isinstance(error, ValueError)]
    others = [f"{list(size)} with {type(refused[size]).__name__}" for size in refused if size not in tested]
    expect(
        not tested or not others,
        f"{list(map(list, tested))} are refused by a ValueError, but {', '.join(others)} of a later step: the rule is "
        "tested wrongly along an axis",
    )


def _is_ours(model: nn.Module) -> bool:
    return getattr(model, "card", None) is not None and getattr(model, "config", None) is not None


def _expect_value_error(ctx: Context, size: Axes, rule: str) -> None:
    model = ctx.eval_model(dtype=torch.float32, warm=False)
    try:
        model(ctx.input(size=size, dtype=torch.float32))
    except ValueError:
        return
    except REFUSALS as error:
        raise CheckFailed(
            f"{list(size)} ({rule}) raised {type(error).__name__}, expected InputError: {error}"
        ) from error
    raise CheckFailed(f"{list(size)} ({rule}) was accepted, expected InputError")


@check(core=True)
def check_batch_one_train(ctx: Context) -> None:
    """A batch of one can be trained on."""
    ctx.require(ctx.capabilities.batch1_train, "batch1_train=False is declared")
    trained = []
    for batch in (1, 2):
        model = ctx.train_model(dtype=torch.float32)
        try:
            loss = ctx.loss(ctx.outputs(model, ctx.input(batch, dtype=torch.float32)))
            loss.backward()
        except Exception as error:
            raise CheckFailed(
                f"training on a batch of {batch}, images of {list(ctx.size)}: {describe(error)}. Batch normalization "
                "after global pooling has one value per channel; use another normalization there"
            ) from error
        expect(bool(loss.isfinite()), f"training on a batch of {batch}, the loss is {float(loss)}")
        trained.append({name for name, p in model.named_parameters() if p.grad is not None})
    # What is drawn by chance may differ between any two steps.
    skipped = [] if ctx.capabilities.stochastic_train else sorted(trained[1] - trained[0])
    expect(
        not skipped,
        f"in a batch of one {listing(skipped)} received no gradient, in a batch of two they did: a layer is skipped "
        "for a single image, which is then trained as another network",
    )


@check(level="should")
def check_empty_batch(ctx: Context) -> None:
    """An empty batch is refused, or gives an empty output of the right shape and dtype."""
    model = ctx.eval_model()
    for size in dict.fromkeys((ctx.size, ctx.odd_size())):
        try:
            with torch.no_grad():
                out = ctx.output(model, ctx.input(0, size))
        except REFUSALS as error:
            raise NotApplicable(f"refused with {type(error).__name__}") from error
        expect_shape(ctx, out, 0, size)
        expect(out.dtype == torch.float64, f"of a float64 network an empty batch gave {out.dtype}")


class TaggedTensor(Tensor):
    """A subclass that adds nothing, as MetaTensor and TVTensor appear to a network."""


@check(requires=EVAL, level="should")
def check_tensor_subclass(ctx: Context) -> Measurement | None:
    """A subclass of `torch.Tensor` is accepted and gives equal values."""
    model = ctx.eval_model()
    x = ctx.input()
    out = ctx.output(model, x.as_subclass(TaggedTensor))
    return agree(out.as_subclass(Tensor), ctx.output(model, x), 1e-12, "the output for a Tensor subclass")


@check(level="should", core=True)
def check_invalid_input(ctx: Context) -> None:
    """Input with wrong axes, channels or dtype is refused, not broadcast, and leaves the network unchanged."""
    model = ctx.eval_model(dtype=torch.float32)
    good = ctx.input(dtype=torch.float32)
    named = _is_ours(model)
    expected = ctx.in_channels
    _expect_refused(model, good.unsqueeze(-1), f"an input of {good.dim() + 1} axes")
    _expect_refused(model, good.flatten(2)[..., 0], "an input of 2 axes")
    networks = {expected: model}
    with contextlib.suppress(*REFUSALS):  # check_in_channels has a builder that takes no gray images
        networks[1] = ctx.eval_model(dtype=torch.float32, in_channels=1)
    for channels, network in networks.items():
        # torch's own layers take (C, *S) for a single image, with the right channels: here they are wrong.
        maps = ctx.input(1, channels=channels + 1, dtype=torch.float32)[0]
        what = f"an input of {maps.dim()} axes, {list(maps.shape)}, on a network built with in_channels={channels}"
        _expect_refused(network, maps, what)
    single, got = [ctx.num_classes, *ctx.capabilities.output_size(ctx.size)], None
    with torch.no_grad(), contextlib.suppress(*REFUSALS):
        got = list(ctx.output(model, good[0]).shape)
    expect(
        got in (None, single),
        f"an input of {good.dim() - 1} axes, {list(good[0].shape)}, gave {got}, expected an error, or {single} as torch"
        " has it for one image: add no batch axis silently",
    )
    for channels in {1, expected + 1} - {expected}:
        x = ctx.input(channels=channels, dtype=torch.float32)
        what = f"{channels} channels on a network built with in_channels={expected}"
        _expect_refused(model, x, what, (channels, expected) if named else ())
    _expect_refused(model, (good * 50).to(torch.int64), "an input of dtype int64")
    with torch.no_grad(), contextlib.suppress(*REFUSALS):
        ctx.outputs(model, good.double())
    changed = [name for name, p in model.named_parameters() if p.dtype != torch.float32]
    expect(not changed, f"an input of dtype float64 turned {changed[:4]} of a float32 network into float64")
