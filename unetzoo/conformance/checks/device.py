"""Devices: the network runs where its input is, and moves there and back."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from unetzoo.conformance.definition.check import EVAL, check
from unetzoo.conformance.definition.context import Context, tensors_in
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, Unavailable, agree, expect, worst
from unetzoo.conformance.measuring.tracing import blame, brief


@check()
@torch.no_grad()
def check_fake_device(ctx: Context) -> None:
    """With parameters, buffers and input on `cuda:1`, everything is computed there (simulated, needs no GPU).

    Fake tensors have a device and a shape but no data, so that a constant on the CPU, `.cuda()`, `cuda:0` or a
    tensor that `.to()` does not reach meets a tensor on another device, and raises.
    """
    hint = (
        "Create tensors with device=x.device, register constants as buffers, and let nothing name a device, ask "
        "torch.cuda.is_available() or go through numpy"
    )
    device = torch.device("cuda:1")
    if not _runs_fakes(device):
        raise Unavailable(f"torch {torch.__version__} asks the driver of a GPU, which is missing, about fake tensors")
    for training in (False, True):
        model = ctx.train_model(dtype=torch.float32).train(training)
        mode = "training" if training else "eval"
        # What is padded or cropped at some sizes alone is made there alone.
        for size in (ctx.size,) if training else dict.fromkeys((ctx.size, ctx.odd_size(), ctx.sizes()[-1])):
            place = f"in {mode} mode at size {list(size)}"
            with FakeTensorMode():
                state = {n: _fake(t, device) for n, t in [*model.named_parameters(), *model.named_buffers()]}
                x = torch.empty((2, ctx.in_channels, *size), device=device)
                try:
                    with blame(f"a forward {place} with everything on {device}", hint):
                        outputs = tensors_in(torch.func.functional_call(model, state, (x,)))
                except CheckFailed as failure:
                    if isinstance(failure.__cause__, DataDependentOutputException):
                        raise Unavailable(
                            f"forward reads values of tensors, which fake ones lack: {brief(failure)}"
                        ) from failure
                    raise
            for index, out in enumerate(outputs):
                expect(
                    out.device == device,
                    f"{place} output {index} is on {out.device} for parameters and input on {device}. {hint}",
                )


@cache
def _runs_fakes(device: torch.device) -> bool:
    """Whether this torch runs its own layers on fake tensors of this device; torch 2.6 does not without a driver."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1))
    with FakeTensorMode():
        state = {n: _fake(t, device) for n, t in [*layers.named_parameters(), *layers.named_buffers()]}
        try:
            torch.func.functional_call(layers, state, (torch.empty((2, 1, 8, 8), device=device),))
        except RuntimeError:
            return False
    return True


def _fake(tensor: Tensor, device: torch.device) -> Tensor:
    grad = tensor.requires_grad and tensor.is_leaf
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device, requires_grad=grad)


@check(requires=EVAL, devices="cuda")
def check_device_move(ctx: Context) -> Measurement | None:
    """The network computes the same after moving to CUDA, to a second GPU if there is one, and back.

    Caches of tensors on the first device, or a device kept from the construction, show here. The numbers there are held
    loosely: some of torch's own kernels, as that of Hardswish, round to float32 in float64.
    """
    ctx.require_cuda()
    model = ctx.eval_model(dtype=torch.float64).cpu()
    x = ctx.input().cpu()
    found = []
    with torch.no_grad():
        first = ctx.output(model, x).clone()
        devices = [torch.device("cuda", i) for i in range(min(2, torch.cuda.device_count()))]
        for device in devices:
            model.to(device)
            with blame(f"a forward after .to('{device}')"):
                out = ctx.output(model, x.to(device))
            expect(out.device == device, f"after .to('{device}') the output is on {out.device}")
            found.append(agree(out.cpu(), first, 1e-4, f"the output on {device} against the CPU"))
        model.cpu()
        with blame("a forward on the CPU after having been on CUDA"):
            found.append(agree(ctx.output(model, x), first, 1e-12, "the output back on the CPU"))
    with blame("construction under torch.device('cuda')"), torch.device("cuda"):
        built: nn.Module = ctx.build()
    tensors = [*built.named_parameters(), *built.named_buffers()]
    elsewhere = [n for n, t in tensors if t.device.type != "cuda"]
    expect(not elsewhere, f"built under torch.device('cuda'), {elsewhere[:4]} are on another device")
    with torch.no_grad(), blame("a forward of a network built under torch.device('cuda')"):
        ctx.outputs(built.eval(), ctx.input(dtype=torch.float32).cuda())
    return worst(found)
