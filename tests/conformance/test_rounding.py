"""Bounds that follow the network: what rounding does to it, and gradients that overflow half precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.contexts import context
from tests.conformance.controls import plain
from unetzoo.conformance.checks.dtype import _losses
from unetzoo.conformance.definition.context import Builder
from unetzoo.conformance.definition.outcomes import CheckFailed
from unetzoo.conformance.measuring.rounding import BFLOAT16, TF32, own_error, rounding_effects


class Amplified(nn.Module):
    """A convolution whose output is multiplied, so that its weights' gradients are by the square of that."""

    def __init__(self, in_channels: int, num_classes: int, gain: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.conv(x)


def amplified(gain: float) -> Builder:
    return lambda *, in_channels, num_classes: Amplified(in_channels, num_classes, gain)


def test_the_effect_of_rounding_is_in_proportion_to_its_unit(tmp_path: Path) -> None:
    ctx = context(plain, tmp_path)
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    with torch.no_grad():
        reference = ctx.outputs(model, x)
    coarse, fine = (rounding_effects(ctx, model, x, reference, unit)[0] for unit in (BFLOAT16, TF32))
    assert coarse / fine == pytest.approx(BFLOAT16 / TF32, rel=0.1)


def test_the_effect_of_rounding_grows_with_what_amplifies_it(tmp_path: Path) -> None:
    effects = []
    for gain in (100.0, 1000.0):
        ctx = context(amplified(gain), tmp_path)
        model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
        reference = [model(x).detach()]
        effects.append(rounding_effects(ctx, model, x, reference, TF32)[0] * float(reference[0].abs().max()))
    assert effects[1] == pytest.approx(10 * effects[0], rel=0.01)


def test_the_own_error_of_float32_is_that_against_float64(tmp_path: Path) -> None:
    ctx = context(plain, tmp_path)
    model, x = ctx.eval_model(dtype=torch.float32), ctx.input(dtype=torch.float32)
    with torch.no_grad():
        found = own_error(ctx, x, ctx.outputs(model, x))
        off = own_error(ctx, x, [ctx.output(model, x) + 3e-3])
    assert 0 < found < 1e-5
    assert off == pytest.approx(3e-3, rel=0.5)


@pytest.mark.parametrize(("gain", "ok"), [(1.0, True), (100.0, True), (3000.0, False)])
def test_gradients_may_overflow_float16_until_the_scale_is_one(gain: float, ok: bool, tmp_path: Path) -> None:
    ctx = context(amplified(gain), tmp_path)
    if ok:
        assert len(_losses(ctx, torch.float16, 1e-4, "float16 autocast", "")) == 5
    else:
        with pytest.raises(CheckFailed, match="step 1 under float16 autocast the gradients of .* are not finite"):
            _losses(ctx, torch.float16, 1e-4, "float16 autocast", "")
