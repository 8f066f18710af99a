"""Holding third-party parts to the interface of their kind, and whole networks to running, by shapes alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unetzoo.components.binding import REFUSALS, Bound, reason
from unetzoo.components.kinds import KINDS
from unetzoo.errors import ConfigError, PluginError
from unetzoo.network import DenseModel
from unetzoo.nn import dims
from unetzoo.nn.typing import Size

OWN = "unetzoo"  # the distribution whose parts the project's own tests hold to their interfaces
MOST_MODULES = 600  # in a network that is tried whole: some hundredths of a second beside building it
SIDES = 2  # of the coarsest features, in the image that a part is tried on


def verify_part(
    kind: str,
    bound: Bound,
    part: Any,
    before: Any = None,
    *,
    ndim: int,
    in_channels: int = 0,
    num_classes: int = 0,
) -> None:
    """Check that a part of another distribution has the interface of its kind, and gives the shapes that it declares.

    Args:
        kind: encoder, center, decoder or head.
        bound: the component that was built, for its name and distribution.
        part: what it built.
        before: the part whose `channels` and `strides` it was built for; none for an encoder.
        ndim: spatial dimensions.
        in_channels: channels of the image, for an encoder.
        num_classes: channels of the logits, for a head.

    Raises:
        PluginError: what the part lacks or does otherwise than declared, with its name and distribution.
    """
    if bound.source == OWN:
        return

    def expect(condition: object, message: str) -> None:
        if not condition:
            raise PluginError(f"{kind} {bound.name!r} of {bound.source}: {message}")

    expect(isinstance(part, nn.Module), f"is a {type(part).__name__}; expected a torch.nn.Module")
    protocol = KINDS[kind].protocol
    lacking = [name for name in ("channels", "strides") if name in protocol.__annotations__ and not hasattr(part, name)]
    expect(not lacking, f"has no {' and no '.join(lacking)}, which say the width and stride of each feature it returns")
    if not lacking and kind in ("encoder", "decoder"):
        counts = len(part.channels), len(part.strides)
        expect(counts[0] == counts[1] > 0, f"has {counts[0]} channels and {counts[1]} strides; expected one per level")
    strides = before.strides if before is not None else part.strides
    size = dims.per_axis(dims.multiply(dims.coarsest(strides, ndim), SIDES, ndim), ndim)
    if kind == "encoder":
        inputs: tuple[Any, ...] = (torch.empty(2, in_channels, *size, device="meta"),)
    else:
        features = [_feature(c, s, size, ndim) for c, s in zip(before.channels, before.strides, strict=True)]
        inputs = {"center": (features[-1],), "decoder": (features,), "head": (features, size)}[kind]
    output = _run(part, inputs)
    if output is None:
        return
    if kind in ("encoder", "decoder"):
        expect(
            isinstance(output, list | tuple),
            f"returned a {type(output).__name__}; expected a list of tensors, finest first",
        )
        expected = [_feature(c, s, size, ndim).shape for c, s in zip(part.channels, part.strides, strict=True)]
        shapes = [tensor.shape for tensor in output]
        expect(
            shapes == expected,
            f"returned features of shape {_told(shapes)} for an image of {_told([size])}; by its channels "
            f"{list(part.channels)} and strides {list(part.strides)} expected {_told(expected)}",
        )
    elif kind == "center":
        expect(
            isinstance(output, Tensor) and output.shape == inputs[0].shape,
            f"turned {_told([inputs[0].shape])} into {_told([getattr(output, 'shape', ())])}; a center keeps the shape",
        )
    else:
        logits = output[0] if isinstance(output, list | tuple) else output
        expect(
            logits.shape[1] == num_classes,
            f"returned {logits.shape[1]} channels of logits; expected num_classes={num_classes}",
        )


def verify_block(bound: Bound) -> Callable[..., nn.Module]:
    """Return the factory of a block; one of another distribution is held to its shapes whenever it is called."""
    factory = bound.factory
    if bound.source == OWN:
        return factory

    @functools.wraps(factory, updated=())
    def checked(in_channels: int, out_channels: int, *, ndim: int, **options: Any) -> nn.Module:
        block = factory(in_channels, out_channels, ndim=ndim, **options)
        size = (16,) * ndim
        if "stride" in options or "transposed" in options:
            return block
        output = _run(block, (torch.empty(2, in_channels, *size, device="meta"),))
        if output is not None and tuple(output.shape) != (2, out_channels, *size):
            raise PluginError(
                f"block {bound.name!r} of {bound.source}: turned {in_channels} channels of {_told([size])} pixels into "
                f"{_told([output.shape[1:]])}; expected {out_channels} channels of the same size"
            )
        return block

    return checked


def verify_network(name: str, model: DenseModel) -> None:
    """Check that a network runs, by shapes alone; one that cannot be tried without values is tried with them.

    Raises `ConfigError` with the reason, for parts that were built but do not fit each other. Networks of so many
    modules that this would take long beside building them are left to their first forward.
    """
    if sum(1 for _ in model.modules()) > MOST_MODULES:
        return
    coarsest = getattr(model.encoder, "strides", None)
    step = dims.coarsest(coarsest, model.ndim) if coarsest else 1
    size = tuple(
        max(SIDES * side, least)
        for side, least in zip(dims.per_axis(step, model.ndim), dims.per_axis(model.min_size, model.ndim), strict=True)
    )
    shape = (2, model.in_channels, *size)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            stand_ins = {key: torch.empty_like(tensor, device="meta") for key, tensor in state.items()}
            functional_call(model, stand_ins, (torch.empty(shape, device="meta"),))
            return
        except REFUSALS:
            if any(tensor.is_meta for tensor in state.values()):
                return
        some = next((tensor for tensor in state.values() if tensor.is_floating_point()), torch.empty(0))
        try:
            copies = {**state, **{key: tensor.clone() for key, tensor in model.named_buffers()}}
            functional_call(model, copies, (torch.zeros(shape, device=some.device, dtype=some.dtype),))
        except MemoryError:
            return
        except REFUSALS as error:
            tried = " x ".join(map(str, size))
            raise ConfigError(
                f"{name!r} is built, but does not run on an image of {tried}: {reason(error)}; its parts or their "
                "options do not fit each other"
            ) from error


def _feature(channels: int, stride: Size, size: Sequence[int], ndim: int) -> Tensor:
    steps = dims.per_axis(stride, ndim)
    spatial = [dims.divide_up(side, step) for side, step in zip(size, steps, strict=True)]
    return torch.empty(2, channels, *spatial, device="meta")


def _run(part: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Run a part on stand-ins without values; None where it needs values, which the first forward will show."""
    tensors = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    try:
        with torch.no_grad():
            return functional_call(part, stand_ins, inputs)
    except (NotImplementedError, RuntimeError):
        return None


def _told(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) or "nothing" for shape in shapes)
