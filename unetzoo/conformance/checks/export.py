"""Export: `torch.export`, ONNX and the older formats give the same function, at other sizes too."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from unetzoo.capabilities import Axes
from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context, tensors_in
from unetzoo.conformance.definition.outcomes import (
    CheckFailed,
    Measurement,
    NotApplicable,
    Unavailable,
    agree,
    expect,
    worst,
)
from unetzoo.conformance.measuring.tracing import blame

_HINT = (
    "Branch on shapes and settings, not on values; take sizes from x.shape as they are, without int(), numpy or a cache"
)


@check(requires=EVAL, level="should", core=True)
@torch.no_grad()
def check_export(ctx: Context) -> Measurement | None:
    """`torch.export` captures the network, and the program matches it on other inputs.

    A branch on values cannot be captured, or is frozen the way the example went.
    """
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    module = _program(model, x).module()
    return worst(_compare(ctx, model, module, other, "the exported program") for other in _others(ctx))


@check(requires=EVAL, level="should", cost="slow")
@torch.no_grad()
def check_export_dynamic(ctx: Context) -> Measurement | None:
    """A program exported with dynamic batch and spatial sizes matches the network at other sizes.

    `int()`, numpy and arithmetic on a cached size turn the example's size into a constant of the program.
    """
    ctx.require(
        _sizes_vary(ctx), "declares a fixed size, or is 1-D, where torch itself fixes the size of a max pooling"
    )
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(size=_aligned(ctx, 0), dtype=torch.float32)
    module = _program(model, x, _dynamic(x)).module()
    return worst(_compare(ctx, model, module, other, "the exported program") for other in _other_sizes(ctx))


@check(requires=EVAL, level="advice", cost="slow", timeout=600)
@torch.no_grad()
def check_onnx(ctx: Context) -> Measurement | None:
    """Exported to ONNX with dynamic axes, onnxruntime gives the same logits and classes, at another size too."""
    _need_onnx()
    vary = _sizes_vary(ctx)
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(size=_aligned(ctx, 0), dtype=torch.float32)
    run = _in_onnxruntime(ctx, model, x, _dynamic(x) if vary else None)
    found = []
    for other in [-x, *_other_sizes(ctx)] if vary else [-x]:
        found.append(_compare(ctx, model, run, other, "onnxruntime"))
        _same_classes(ctx.output(model, other), run(other))
    return worst(found)


@check(requires=EVAL, level="advice", cost="slow", timeout=600)
@torch.no_grad()
def check_onnx_any_size(ctx: Context) -> Measurement | None:
    """Exported to ONNX at a size that is no multiple of the strides, onnxruntime is right at other such sizes.

    Integer division truncates in ONNX: `-(-n // d)` rounds up in Python and down there; `(n + d - 1) // d` is right.
    """
    _need_onnx()
    ctx.require(_sizes_vary(ctx) and set(ctx.capabilities.divisor) == {1}, "does not take sizes off its stride")
    ctx.require(not any(ctx.capabilities.margin), "crops, so that few sizes are whole")
    step = ctx.capabilities.coarsest_stride
    ctx.require(step > 1, "has one resolution")
    base = _aligned(ctx, 0)
    sizes = [tuple(s + (more + axis) % step for axis, s in enumerate(base)) for more in (1, step // 2, step - 1)]
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(size=sizes[0], dtype=torch.float32)
    try:
        run = _in_onnxruntime(ctx, model, x, _dynamic(x))
    except CheckFailed as failure:  # check_export_dynamic and check_onnx speak of it
        raise NotApplicable(f"is not exported at such sizes: {failure}") from failure
    others = [ctx.input(seed=2, size=size, dtype=torch.float32) for size in sizes[1:]]
    return worst(_compare(ctx, model, run, other, "onnxruntime") for other in others)


@check(requires=EVAL, level="advice")
@torch.no_grad()
def check_jit_trace(ctx: Context) -> Measurement | None:
    """A `torch.jit.trace` matches the network at the traced size (deprecated in torch, but in use)."""
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    with blame("torch.jit.trace", _HINT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, x, check_trace=False)
    return worst(_compare(ctx, model, traced, other, "the trace") for other in _others(ctx))


def _program(
    model: nn.Module, x: Tensor, dynamic: tuple[dict[int, object]] | None = None
) -> torch.export.ExportedProgram:
    """The exported program; torch's own log of a failure, which lists the whole graph, is left out."""
    logging.disable(logging.CRITICAL)
    with blame(f"torch.export.export{' with dynamic shapes' if dynamic else ''}", _HINT):
        return torch.export.export(model, (x,), dynamic_shapes=dynamic, strict=False)


def _onnx(model: nn.Module, x: Tensor, dynamic: tuple[dict[int, object]] | None) -> torch.onnx.ONNXProgram:
    """The ONNX program; of a chain of errors the first, for the last is advice on filing an issue with torch."""
    logging.disable(logging.CRITICAL)
    try:
        program = torch.onnx.export(model, (x,), dynamo=True, verbose=False, dynamic_shapes=dynamic)
    except torch.onnx.OnnxExporterError as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        raise first from None
    assert program is not None
    return program


def _others(ctx: Context) -> list[Tensor]:
    """Other inputs of the example's shape, one of them its negative: a frozen branch on a sign or mean shows."""
    return [ctx.input(dtype=torch.float32, seed=1), -ctx.input(dtype=torch.float32)]


def _need_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise Unavailable(f"needs the packages {', '.join(missing)}: pip install unetzoo[export]")
    if torch.__version__ < "2.7":
        raise Unavailable("needs torch 2.7: the ONNX exporter before it fails on batch normalization and on resizing")


def _in_onnxruntime(
    ctx: Context, model: nn.Module, x: Tensor, dynamic: tuple[dict[int, object]] | None
) -> Callable[[Tensor], Tensor]:
    """The network, exported to ONNX and opened in onnxruntime."""
    import onnxruntime

    path = ctx.tmp_path / "model.onnx"
    with blame("torch.onnx.export(dynamo=True)", _HINT):
        _onnx(model, x, dynamic).save(str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    with blame("loading the ONNX file in onnxruntime"):
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda other: torch.from_numpy(session.run(None, {name: other.numpy()})[0])


def _sizes_vary(ctx: Context) -> bool:
    return ctx.capabilities.fixed_size is None and ctx.capabilities.ndim > 1


def _aligned(ctx: Context, factor: int, order: int = 1) -> Axes:
    """A legal size that is a multiple of the coarsest stride, so that the branches for odd maps go one way.

    Twice the stride at the least: a program is captured for a length of one alone, or for all others.
    """
    step = [math.lcm(d, ctx.capabilities.coarsest_stride) for d in ctx.capabilities.divisor]
    wanted = tuple(d * (max(2, -(-s // d)) + factor) for s, d in zip(ctx.size[::order], step, strict=True))
    return ctx.capabilities.legal(wanted)


def _other_sizes(ctx: Context) -> list[Tensor]:
    sizes = (_aligned(ctx, 2), _aligned(ctx, 1, order=-1))
    return [ctx.input(3, size, dtype=torch.float32, seed=2) for size in sizes]


def _dynamic(x: Tensor) -> tuple[dict[int, object]]:
    return (dict.fromkeys((0, *range(2, x.dim())), torch.export.Dim.AUTO),)


def _compare(
    ctx: Context, model: nn.Module, other: Callable[[Tensor], object], x: Tensor, what: str, tolerance: float = 1e-4
) -> Measurement:
    case = f"{what} on input {list(x.shape)}"
    with blame(case, _HINT):
        actual = tensors_in(other(x))[0]
    return agree(actual, ctx.output(model, x), tolerance, f"the output of {case}", _HINT)


def _same_classes(expected: Tensor, actual: Tensor) -> None:
    """No pixel whose margin exceeds the tolerance changes class."""
    if expected.shape[1] == 1:
        return
    top = expected.topk(2, dim=1).values
    decided = top[:, 0] - top[:, 1] > 2e-4 * max(1.0, float(expected.abs().max()))
    flipped = int(((expected.argmax(dim=1) != actual.argmax(dim=1)) & decided).sum())
    expect(flipped == 0, f"in onnxruntime {flipped} pixels with a clear margin change class", flipped, 0)
