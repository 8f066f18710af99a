"""What a conformance check is: its record, the registry, the outcomes it can raise, and how numbers are compared.

**Writing a check.** A check is a plain function of one `Context` in
`unetzoo/conformance/checks/<subject>.py`::

    @check(requires=FORWARD)
    def check_output_fresh(ctx: Context) -> Measurement | None:
        '''A later call leaves an earlier result alone.'''
        model = ctx.eval_model()                       # fresh, seeded, eval mode, on ctx.device, statistics warmed
        first = ctx.output(model, ctx.input(seed=1))   # the finest output tensor
        kept = first.clone()
        ctx.output(model, ctx.input(seed=2))
        return agree(first, kept, 0.0, "the first result after a second call")

- It asks the context for everything: fresh models (`build`, `train_model`, `eval_model`), seeded inputs
  (`input`), `capabilities`, `device`, `tmp_path`. It keeps nothing between calls and depends on no other check;
  global state and random generators are restored around it.
- It fails by raising `CheckFailed` (or through `agree` or `expect`) with a message from which the
  author can mend the network: module or parameter, input, expected, got, likely cause. Any other exception
  from the network is reported as a failure with its last frames, so an expected error must be caught narrowly.
- It raises `NotApplicable` when a capability rules it out, `Unavailable` when a device or
  package is missing.
- It returns the `Measurement` that was held against the bound, or None where there is no figure.
- Compare fail-closed: `agree` treats NaN as a disagreement. Semantics in float64, random cotangents
  (`ctx.backward`), never `mean()` or `sum()`.
- The first line of its docstring is shown in reports; write it as the property that holds, not as an action.

**Writing its planted defect.** In `tests/conformance/planted/<subject>.py` a builder
`f(in_channels, num_classes) -> nn.Module` registered with the id that must catch it and a pattern that the
failure message must match, so that it is caught for the planted reason::

    @planted("check_output_fresh", because="first result")
    def reused_output_buffer(in_channels, num_classes): ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Tensor

if TYPE_CHECKING:
    from unetzoo.conformance.context import Context

SUITE_VERSION = "1.0"

Level: TypeAlias = Literal["must", "should", "advice"]
Devices: TypeAlias = Literal["cpu", "cuda", "both"]
Cost: TypeAlias = Literal["fast", "slow"]
Profile: TypeAlias = Literal["core", "full", "cuda"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

CREATE = ("check_create_signature",)
FORWARD = (*CREATE, "check_modules_registered", "check_forward_runs")
MODES = (*FORWARD, "check_mode_flags")
EVAL = (*MODES, "check_eval_deterministic")
BACKWARD = (*FORWARD, "check_backward_runs")
GATES = (*EVAL, "check_backward_runs")


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


@dataclass(frozen=True)
class Check:
    """One registered check.

    `requires` names the gates, checks whose failure would make this one fail for the same cause: it is then reported as
    blocked. `devices` is where it is meaningful: `both` runs on the requested device, `cpu` always on the CPU. `core`
    checks are the contract that every network is held to first. A `fast` one takes a small network well under a second.
    """

    id: str
    function: Callable[[Context], Measurement | None]
    subject: str
    level: Level
    devices: Devices
    cost: Cost
    core: bool
    requires: tuple[str, ...]
    since: str
    timeout: float

    @property
    def profiles(self) -> set[Profile]:
        """Profiles that the check belongs to: every one to `full`, those that depend on the device to `cuda`."""
        member: dict[Profile, bool] = {"core": self.core, "full": True, "cuda": self.devices != "cpu"}
        return {profile for profile in member if member[profile]}

    @property
    def summary(self) -> str:
        """The property that holds, in a sentence: the first line of the docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


CheckFunction: TypeAlias = Callable[["Context"], "Measurement | None"]
_CHECKS: dict[str, Check] = {}


def check(
    *,
    requires: tuple[str, ...] = FORWARD,
    level: Level = "must",
    devices: Devices = "cpu",
    cost: Cost = "fast",
    core: bool = False,
    since: str = SUITE_VERSION,
    timeout: float = 300.0,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function `check_*(ctx)` under its own name; its module's name is its subject."""

    def register(function: CheckFunction) -> CheckFunction:
        name, subject = function.__name__, function.__module__.rpartition(".")[2]
        if not name.startswith("check_"):
            raise ValueError(f"a check's name must begin with 'check_', got {name!r}")
        if name in _CHECKS and _CHECKS[name].function.__module__ != function.__module__:
            raise ValueError(f"{name} is registered twice: {_CHECKS[name].function.__module__}, {function.__module__}")
        _CHECKS[name] = Check(name, function, subject, level, devices, cost, core, requires, since, timeout)
        return function

    return register


def all_checks() -> list[Check]:
    """Every check of the suite, gates before the checks that require them, otherwise by subject and file order."""
    from unetzoo.conformance import checks

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return sorted(_CHECKS.values(), key=lambda c: GATES.index(c.id) if c.id in GATES else len(GATES))


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
