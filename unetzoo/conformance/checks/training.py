"""Training over several steps: nothing is carried along, and the ways to save memory change no gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, agree, expect, worst
from unetzoo.conformance.measuring.stochastic import repeats, without_dropout
from unetzoo.conformance.measuring.tracing import attributes, blame, brief, listing


@check(requires=BACKWARD, devices="both")
def check_two_steps(ctx: Context) -> None:
    """Three optimizer steps run in a row, and the loss stays finite.

    A tensor that a forward keeps for the next one without `detach` drags the last step's graph along.
    """
    model = ctx.train_model(dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for step in range(1, 4):
        optimizer.zero_grad()
        try:
            loss = ctx.loss(ctx.outputs(model, ctx.input(dtype=torch.float32, seed=step)), seed=step)
            loss.backward()
        except RuntimeError as error:
            kept = [
                path for path, value in attributes(model) if isinstance(value, Tensor) and value.grad_fn is not None
            ]
            raise CheckFailed(
                f"training step {step} of 3 raised {brief(error)}, though step 1 ran. Tensors of an earlier graph that "
                f"the network keeps: {listing(kept) or 'none found on it'}. Detach what is kept between steps"
            ) from error
        expect(
            bool(loss.isfinite()), f"the loss is {loss.item()} in step {step} of 3 at learning rate 1e-4", loss.item()
        )
        optimizer.step()


@check(requires=BACKWARD)
def check_accumulation(ctx: Context) -> Measurement | None:
    """Gradients of two half batches add up to those of the whole batch.

    Anything else that couples the samples makes gradient accumulation and data-parallel training another training than
    the large batch. Layers with running statistics and dropout are in eval mode here: what remains may not couple.
    """
    ctx.require(
        not (ctx.capabilities.batch_coupled_train and "batch_coupled_train" in ctx.capabilities.declared),
        "declares batch_coupled_train",
    )
    model = ctx.train_model(perturb=True)
    x = ctx.input(batch=4)
    before = {n: b.clone() for n, b in model.named_buffers()}
    with torch.no_grad():
        ctx.outputs(model, x)
    moved = {n.rpartition(".")[0] for n, b in model.named_buffers() if not torch.equal(b, before[n])}
    for name, module in model.named_modules():
        if name in moved:
            module.eval()
    ctx.require(repeats(ctx, without_dropout(model), x), "training mode draws random numbers outside of dropout")
    whole = _grads(ctx, model, x, slice(0, 4))
    first, second = _grads(ctx, model, x, slice(0, 2)), _grads(ctx, model, x, slice(2, 4))
    hint = "Samples of a batch meet in training mode: a mean, a norm or attention runs over the batch axis"
    return worst(
        agree(first[n] + second[n], grad, 1e-9, f"the sum over two half batches of the gradient of {n!r}", hint)
        for n, grad in whole.items()
    )


def _grads(ctx: Context, model: nn.Module, x: Tensor, part: slice) -> dict[str, Tensor]:
    """Gradients by every parameter from some samples of `x`; the cotangent is that of the whole batch."""
    model.zero_grad(set_to_none=True)
    loss = torch.zeros((), dtype=x.dtype, device=x.device)
    for index, out in enumerate(ctx.outputs(model, x[part])):
        shape = (len(x), *out.shape[1:])
        weight = torch.randn(shape, generator=ctx.generator(index), dtype=torch.float64).to(out.device, out.dtype)
        loss = loss + (out * weight[part]).sum() / out[0].numel() ** 0.5
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@check(requires=BACKWARD, devices="both", core=True)
def check_grad_checkpointing(ctx: Context) -> Measurement | None:
    """Gradient checkpointing leaves the gradients unchanged and saves memory.

    The re-entrant kind silently freezes every layer that is fed by the image alone; recomputing dropout needs the
    generator's state of the first pass. Running statistics are exempt: the second pass updates them again.
    """
    switch = checkpointing_switch(ctx.build())
    declared = "grad_checkpointing" in ctx.capabilities.supports
    expect(
        switch is not None or not declared,
        "declares grad_checkpointing, but has no set_gradient_checkpointing, set_grad_checkpointing or "
        "gradient_checkpointing_enable",
    )
    ctx.require(switch is not None, "the network has no switch for gradient checkpointing")
    layers = [m for m in ctx.build().modules() if any(True for _ in m.parameters(recurse=False))]
    ctx.require(len(layers) > 1, "a single layer has nothing to recompute")
    results = []
    for enabled in (False, True):
        model = ctx.train_model(perturb=True)
        turn = checkpointing_switch(model)
        assert turn is not None
        turn(enabled)
        saved: set[int] = set()
        storages: list[Tensor] = []

        def pack(t: Tensor, saved: set[int] = saved, storages: list[Tensor] = storages) -> Tensor:
            saved.add(t.untyped_storage().data_ptr())
            storages.append(t)
            return t

        torch.manual_seed(ctx.seed)
        with blame(f"a training step with checkpointing {'on' if enabled else 'off'}"):
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                loss = ctx.loss(ctx.outputs(model, ctx.input()))
            torch.manual_seed(ctx.seed + 1)
            loss.backward()
        results.append(({n: p.grad for n, p in model.named_parameters()}, len(saved)))
        del storages[:]
    (plain, kept), (checkpointed, kept_less) = results
    lost = [n for n, grad in plain.items() if (grad is None) != (checkpointed[n] is None)]
    expect(
        not lost,
        f"with checkpointing on, {listing(lost)} lose (or gain) their gradient. Re-entrant checkpointing stops at "
        "inputs that need no gradient: pass use_reentrant=False",
    )
    expect(
        kept_less < kept,
        f"checkpointing saves nothing: autograd keeps {kept_less} tensors with it on and {kept} with it off. The "
        "switch does not reach the blocks",
        kept_less,
        kept,
    )
    hint = "The second pass must see the first one's random numbers (preserve_rng_state) and module state"
    return worst(
        agree(checkpointed[n], grad, 1e-9, f"with checkpointing on, the gradient of {n!r}", hint)  # type: ignore[arg-type]
        for n, grad in plain.items()
        if grad is not None
    )


def checkpointing_switch(model: nn.Module) -> Callable[[bool], object] | None:
    """The network's switch for gradient checkpointing, by its name here, in timm and in transformers."""
    for name in ("set_gradient_checkpointing", "set_grad_checkpointing"):
        if callable(getattr(model, name, None)):
            return getattr(model, name)
    if callable(getattr(model, "gradient_checkpointing_enable", None)):
        return lambda on: getattr(model, f"gradient_checkpointing_{'enable' if on else 'disable'}")()
    return None
