"""The output contract: shape, type, dtype, channels and values of the logits."""

from __future__ import annotations

import torch

from unetzoo.conformance.check import CREATE, Measurement, agree, check, expect
from unetzoo.conformance.context import Context


@check(requires=CREATE, devices="both")
def check_forward_runs(ctx: Context) -> None:
    """A forward runs in training and in eval mode and returns tensors."""
    ctx.outputs(ctx.train_model(dtype=torch.float32), ctx.input(dtype=torch.float32))
    model = ctx.train_model(dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        ctx.outputs(model, ctx.input(dtype=torch.float32))


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
