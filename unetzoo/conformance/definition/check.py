"""What a conformance check is: its record and the registry.

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
`f(in_channels, num_classes) -> nn.Module`, registered with the id that must catch it and a pattern that the
failure message must match, so that it is caught for the planted reason::

    @planted("check_output_fresh", because="first result")
    def reused_output_buffer(in_channels, num_classes): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import Measurement

SUITE_VERSION = "1.0"

Level: TypeAlias = Literal["must", "should", "advice"]
Devices: TypeAlias = Literal["cpu", "cuda", "both"]
Cost: TypeAlias = Literal["fast", "slow"]
Profile: TypeAlias = Literal["core", "full", "cuda"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

# Gates: what most checks need before they mean anything. Values of `requires`.
CREATE = ("check_create_signature",)
FORWARD = (*CREATE, "check_modules_registered", "check_forward_runs")
MODES = (*FORWARD, "check_mode_flags")
EVAL = (*MODES, "check_eval_deterministic")
BACKWARD = (*FORWARD, "check_backward_runs")
GATES = (*EVAL, "check_backward_runs")


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


CheckFunction: TypeAlias = Callable[[Context], "Measurement | None"]
CHECKS: dict[str, Check] = {}


def check(
    *,
    requires: tuple[str, ...] = FORWARD,
    level: Level = "must",
    devices: Devices = "cpu",
    cost: Cost = "fast",
    core: bool = False,
    timeout: float = 300.0,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function `check_*(ctx)` under its own name; its module's name is its subject."""

    def register(function: CheckFunction) -> CheckFunction:
        name, subject = function.__name__, function.__module__.rpartition(".")[2]
        if not name.startswith("check_"):
            raise ValueError(f"a check's name must begin with 'check_', got {name!r}")
        if name in CHECKS and CHECKS[name].function.__module__ != function.__module__:
            raise ValueError(f"{name} is registered twice: {CHECKS[name].function.__module__}, {function.__module__}")
        CHECKS[name] = Check(name, function, subject, level, devices, cost, core, requires, timeout)
        return function

    return register
