"""Learning: the network fits two images, in single precision and in mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unetzoo.conformance.definition.check import BACKWARD, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement, expect
from unetzoo.conformance.measuring.stochastic import without_dropout


@check(requires=BACKWARD, devices="both", cost="slow")
def check_overfit(ctx: Context) -> Measurement:
    """Adam at 0.01 fits the masks of two images to a cross-entropy below 0.05.

    The masks are 4 x 4 blocks whose class the image shows as a shade under noise. Logits that are bounded, gradients
    that are there but lead nowhere, and outputs that are shifted, do not get there. Most networks need some 60 steps.
    """
    model = without_dropout(ctx.train_model(dtype=torch.float32))
    x, labels = _task(ctx)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: list[float] = []
    for step in range(300):
        optimizer.zero_grad()
        errors = [_cross_entropy(ctx, out, labels) for out in _logits(ctx, model, x)]
        torch.stack(errors).mean().backward()
        optimizer.step()
        losses.append(errors[0].item())
        stuck = step >= 120 and min(losses[-60:]) > 0.95 * min(losses[:-60])
        if losses[-1] < 0.05 or stuck:
            break
    expect(
        min(losses) < 0.05,
        f"the cross-entropy on two images of size {list(x.shape[2:])} fell from {losses[0]:.3g} to {min(losses):.3g} "
        f"in {len(losses)} Adam steps at 0.01, expected < 0.05. Look for an activation that bounds the logits, zero "
        "or wrong gradients, or an output that does not lie over its input",
        min(losses),
        0.05,
    )
    return Measurement(min(losses), 0.05)


@check(requires=BACKWARD, devices="cuda", cost="slow")
def check_train_amp(ctx: Context) -> Measurement:
    """Under float16 autocast with a gradient scaler the loss halves, and no step after the second is skipped.

    It has 40 steps of Adam at 0.01: networks whose logits begin at zero take 20 in float32. A skipped step is one whose
    gradients overflowed: the scaler lowers its scale and tries again.
    """
    ctx.require_cuda()
    model = without_dropout(ctx.train_model(dtype=torch.float32))
    x, labels = _task(ctx)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**12)
    losses: list[float] = []
    for step in range(1, 41):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            outputs = _logits(ctx, model, x)
        errors = [_cross_entropy(ctx, out.float(), labels) for out in outputs]
        scaler.scale(torch.stack(errors).mean()).backward()
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        losses.append(errors[0].item())
        expect(
            step <= 2 or scaler.get_scale() >= before,
            f"step {step} was skipped at a gradient scale of {before:g}: float16 gradients overflow",
            before,
        )
        if step >= 20 and min(losses) < 0.5 * losses[0]:
            break
    ratio = min(losses) / losses[0]
    expect(
        ratio < 0.5,
        f"in float16 autocast the loss fell from {losses[0]:.3g} to {min(losses):.3g} only, expected half",
        ratio,
        0.5,
    )
    return Measurement(ratio, 0.5)


def _task(ctx: Context) -> tuple[Tensor, Tensor]:
    """Two images and the class of every pixel: random 4 x 4 blocks, shown as a shade from -1 to 1 under noise."""
    generator = ctx.generator(5)
    classes = max(ctx.num_classes, 2)
    blocks = torch.randint(classes, (2, 1, *[4] * ctx.capabilities.ndim), generator=generator)
    labels = F.interpolate(blocks.float(), size=ctx.size, mode="nearest").long().to(ctx.device)
    shade = torch.linspace(-1, 1, classes, device=ctx.device)[labels]
    return shade + 0.5 * ctx.input(dtype=torch.float32), labels[:, 0]


def _logits(ctx: Context, model: nn.Module, x: Tensor) -> list[Tensor]:
    """All training outputs, those that are stacked in one tensor along axis 1 taken apart."""
    stacked = ctx.capabilities.ndim + 3
    return [t for out in ctx.outputs(model, x) for t in (out.unbind(1) if out.dim() == stacked else (out,))]


def _cross_entropy(ctx: Context, logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits that lie over the middle of the input, or of coarser ones."""
    for axis, (whole, part) in enumerate(zip(ctx.size, ctx.capabilities.output_size(ctx.size), strict=True), start=1):
        labels = labels.narrow(axis, (whole - part) // 2, part)
    labels = F.interpolate(labels[:, None].float(), size=logits.shape[2:], mode="nearest")[:, 0].long()
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)
