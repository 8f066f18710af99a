"""What only a CUDA device can show: agreement with the CPU, streams, determinism, synchronization, graphs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from unetzoo.conformance.definition.check import BACKWARD, EVAL, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, NotApplicable, agree, expect, worst
from unetzoo.conformance.measuring.rounding import TF32, own_error, rounding_effects
from unetzoo.conformance.measuring.sandbox import set_tf32
from unetzoo.conformance.measuring.tracing import blame

_ONLY_KERNELS_OF_VOLUMES = "max_pool3d|avg_pool3d|upsample_trilinear3d"


@check(requires=EVAL, devices="cuda")
@torch.no_grad()
def check_cuda_matches_cpu(ctx: Context) -> Measurement | None:
    """CUDA matches the CPU's float32 outputs: to 1e-4 without TF32; to 5e-3, with the same classes, with it.

    A sensitive network is allowed more: ten times what the CPU's float32 is from float64, and with TF32 four times what
    such rounding of weights and input does.
    """
    ctx.require_cuda()
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    exact = ctx.outputs(model, x)
    effects = rounding_effects(ctx, model, x, exact, TF32)
    set_tf32(True)
    rounded = ctx.outputs(model, x)
    model, x = model.cpu(), x.cpu()
    reference = ctx.outputs(model, x)
    tolerance = max(1e-4, 10 * own_error(ctx, x, reference))
    found = []
    for out, fast, ref, effect in zip(exact, rounded, reference, effects, strict=True):
        out, fast, bound = out.cpu(), fast.cpu(), max(5e-3, tolerance, 4 * effect)
        found.append(agree(out, ref, tolerance, "the CUDA output with TF32 off against the CPU"))
        found.append(agree(fast, ref, bound, "the CUDA output with TF32 on against the CPU"))
        if ref.shape[1] > 1:
            top = ref.topk(2, dim=1).values
            decided = top[:, 0] - top[:, 1] > 2 * bound * max(1.0, float(ref.abs().max()))
            flipped = int(((fast.argmax(dim=1) != ref.argmax(dim=1)) & decided).sum())
            expect(flipped == 0, f"with TF32 on, {flipped} pixels with a clear margin change class", flipped, 0)
    return worst(found)


@check(requires=EVAL, devices="cuda")
@torch.no_grad()
def check_cuda_stream(ctx: Context) -> Measurement:
    """A forward on a side stream launches all its kernels on that stream.

    The input arrives there late, behind a pause, so that a kernel on another stream reads zeros.
    """
    ctx.require_cuda()
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    expected = ctx.output(model, x).clone()
    late = torch.zeros_like(x)
    stream = torch.cuda.Stream(ctx.device)
    torch.cuda.synchronize(ctx.device)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)  # about 10 ms
        late.copy_(x)
        out = ctx.output(model, late)
    torch.cuda.synchronize(ctx.device)
    hint = "Some kernel runs on the default stream, before its input is there: use torch.cuda.current_stream()"
    return agree(out, expected, 1e-4, "the output of a forward on a side stream", hint)


@check(requires=BACKWARD, devices="cuda")
def check_deterministic_algorithms(ctx: Context) -> Measurement | None:
    """A training step runs under `torch.use_deterministic_algorithms(True)` and is bitwise reproducible.

    Adaptive pooling, bicubic interpolation and others have backward kernels that add in any order, and refuse this
    mode. So do the usual ones of volumes, for which torch has no other: these are excused where nothing is declared.
    """
    ctx.require_cuda()
    ctx.require(ctx.capabilities.deterministic_cuda, "capabilities deterministic_cuda=False")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when a handle is made; the runner puts it back
    torch.backends.cudnn.benchmark = False
    runs = []
    torch.use_deterministic_algorithms(True)
    for _ in range(2):
        model, x = ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
        torch.manual_seed(ctx.seed)
        hint = "Replace the operation, or declare deterministic_cuda=False"
        with blame("a train step with deterministic algorithms", hint), _excused(ctx):
            outputs = ctx.outputs(model, x)
            ctx.loss(outputs).backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        runs.append(
            {f"output {i}": out for i, out in enumerate(outputs)}
            | {f"the gradient of {n!r}": g for n, g in grads.items()}
        )
    return worst(agree(runs[1][n], t, 0.0, f"{n} in a repeated deterministic train step") for n, t in runs[0].items())


@contextmanager
def _excused(ctx: Context) -> Iterator[None]:
    """Turn the refusal of an operation that volumes cannot do without into NotApplicable, unless that is declared."""
    try:
        yield
    except RuntimeError as error:
        refused = re.search(rf"({_ONLY_KERNELS_OF_VOLUMES})\w* does not have a deterministic", str(error))
        if refused and "deterministic_cuda" not in ctx.capabilities.declared:
            reason = f"torch has no deterministic backward for {refused[1]}, and deterministic_cuda is not declared"
            raise NotApplicable(reason) from error
        raise


@check(devices="cuda", level="should")
@torch.no_grad()
def check_no_sync(ctx: Context) -> None:
    """An eval forward never synchronizes with the device.

    `.item()`, `nonzero`, `if tensor` and copies from or to the CPU stall the queue in every step.
    """
    ctx.require_cuda()
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    ctx.outputs(model, x)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        hint = "Compute it on the device, or make it once in __init__ and register it as a buffer"
        with blame("an eval forward under torch.cuda.set_sync_debug_mode('error')", hint):
            ctx.outputs(model, x)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@check(requires=EVAL, devices="cuda", level="advice")
@torch.no_grad()
def check_cuda_graph(ctx: Context) -> Measurement | None:
    """A captured CUDA graph, replayed on new data, matches a forward."""
    ctx.require_cuda()
    model, static = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    side = torch.cuda.Stream(ctx.device)
    side.wait_stream(torch.cuda.current_stream(ctx.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            ctx.outputs(model, static)
    torch.cuda.current_stream(ctx.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    hint = "A capture allows no synchronization, no copy from the CPU and no shape that depends on values"
    with blame("the capture of an eval forward in a CUDA graph", hint), torch.cuda.graph(graph):
        captured: Tensor = ctx.output(model, static)
    found = []
    for seed in (1, 2):
        x = ctx.input(dtype=torch.float32, seed=seed)
        static.copy_(x)
        graph.replay()
        what = f"replay {seed} of the captured graph, on new data,"
        found.append(
            agree(captured.clone(), ctx.output(model, x), 1e-4, what, "Something is computed on the host once")
        )
    return worst(found)
