"""The outcomes that a check can raise or return, and how numbers are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


class CheckFailed(AssertionError):
    """The network breaks the property; `measured` and `bound` carry the figure, where there is one."""

    def __init__(self, message: str, measured: float | None = None, bound: float | None = None) -> None:
        super().__init__(message)
        self.measured = measured
        self.bound = bound


class NotApplicable(Exception):
    """A capability of the network rules the check out; the message names the capability."""


class Unavailable(Exception):
    """A device, package or operation that the check needs is not here; the message names it."""


@dataclass(frozen=True)
class Measurement:
    """A figure and the bound it was held against."""

    measured: float
    bound: float


def expect(condition: bool, message: str, measured: float | None = None, bound: float | None = None) -> None:
    """Fail with the message unless the condition holds."""
    if not condition:
        raise CheckFailed(message, measured, bound)


def disagreement(actual: Tensor, expected: Tensor) -> float:
    """Largest difference relative to max(1, max|expected|); NaN or infinity where either side is not finite alike."""
    a, b = actual.detach(), expected.detach()
    if a.numel() == 0:
        return 0.0
    if not (a.is_floating_point() or a.is_complex()):
        return float((a != b).sum())
    a, b = a.to("cpu", torch.float64), b.to("cpu", torch.float64)
    return float((a - b).abs().max() / b.abs().max().clamp(min=1.0))


def agree(actual: Tensor, expected: Tensor, tolerance: float, what: str, hint: str = "") -> Measurement:
    """Hold `actual` to `expected`: same shape and dtype, and a relative difference of at most `tolerance`.

    `tolerance=0` asks for bitwise equality. NaN never agrees. `what` names the compared thing, `hint` the likely
    cause; both go into the failure message. Raises CheckFailed; returns the figure held against the tolerance.
    """
    actual, expected = actual.detach(), expected.detach()
    tail = f". {hint}" if hint else ""
    expect(actual.shape == expected.shape, f"{what}: shape {list(actual.shape)}, expected {list(expected.shape)}{tail}")
    expect(actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, expected {expected.dtype}{tail}")
    measured = disagreement(actual, expected)
    if not measured <= tolerance:
        where = ""
        if actual.is_floating_point() and actual.numel():
            difference = (actual - expected).abs().nan_to_num(nan=torch.inf)
            at = [int(i) for i in torch.unravel_index(difference.argmax(), difference.shape)]
            where = f", worst at index {at}: got {float(actual[tuple(at)]):.6g}, not {float(expected[tuple(at)]):.6g}"
        bound = "bitwise equality" if tolerance == 0 else f"at most {tolerance:g}"
        raise CheckFailed(
            f"{what} differs by {measured:.3g} (relative), expected {bound}{where}{tail}", measured, tolerance
        )
    return Measurement(measured, tolerance)


def worst(measurements: Iterable[Measurement]) -> Measurement | None:
    """The measurement nearest to its bound, or None if there is none."""
    return max(measurements, key=lambda m: m.measured / m.bound if m.bound else m.measured, default=None)
