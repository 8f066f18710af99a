"""Measuring the installed backends on a model, and keeping the fastest one that is accurate."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from unetzoo import registry
from unetzoo.errors import ConfigError, InputError
from unetzoo.optimization.backend import Backend, DType, Run, get_backend
from unetzoo.optimization.model import Built, OptimizedModel, build, original_run
from unetzoo.optimization.report import ORIGINAL, Candidate, OptimizationReport

ROUNDS = 5
LENIENCY = 10.0
"""How many times the error of the model itself a backend may make, both against float64."""
TOLERANCES = {"bfloat16": 0.05, "float16": 0.01, "int8": 0.25}
"""Error allowed for reduced precision: root mean square of the difference, relative to that of the logits."""
DEFAULT_SIDE = {2: 256, 3: 64}


def optimize(
    model: nn.Module,
    example: Tensor | None = None,
    *,
    backend: str = "auto",
    dtype: DType | None = None,
    tolerance: float | None = None,
    report: OptimizationReport | None = None,
    calibration: Sequence[Tensor] = (),
) -> OptimizedModel:
    """Return the model as fast as the machine runs it, for inference; the model itself stays as it is.

    The network is exported and rewritten exactly (normalization folded into convolutions, sub-pixel convolutions for
    nearest upsampling, and others), then built by the installed backends. The fastest one whose error is within
    bounds is kept: never a slower one than the model itself, which is the fallback.

    Args:
        model: a network of one input, float (N, C, *spatial) to logits; on its device.
        example: an input of the size that matters; default: one random sample of 256 x 256 pixels or 64 x 64 x 64
            voxels. Other sizes work too.
        backend: name of a backend, or `auto` to measure all that are installed.
        dtype: `bfloat16`, `float16` or `int8` for less precision; default: float32.
        tolerance: error allowed; default: for float32 ten times that of the model itself against float64 (largest
            difference over largest value), for other types a root mean square of 0.05 (`bfloat16`), 0.01 (`float16`)
            or 0.25 (`int8`) relative to the logits'.
        report: a report of an earlier call, whose choice is taken without measuring.
        calibration: inputs from the data, for `int8`.

    Returns:
        The optimized model; its `report` says what was tried.

    Raises:
        UnknownNameError: no backend has this name.
        ConfigError: the named backend is not installed, or cannot build the model within the tolerance.
        InputError: the example is not what the model takes.
    """
    example = _example(model, example)
    if report is not None:
        if report.chosen != ORIGINAL:
            get_backend(report.chosen)
        return OptimizedModel(model, example, report, calibration=calibration)
    wanted: DType = dtype or "float32"
    if wanted not in get_args(DType):
        raise ConfigError(f"dtype is {wanted!r}; expected float32, bfloat16, float16 or int8")
    if wanted == "int8" and not calibration:
        raise ConfigError("dtype='int8' needs calibration: inputs from the data that show the range of activations")
    judge = _Judge(model, example, wanted, tolerance)
    found: list[Candidate] = []
    working: dict[str, Built] = {}
    for name in _names(backend):
        candidate, built = _try(name, model, example, wanted, judge, calibration, asked=backend != "auto")
        found.append(candidate)
        if built is not None:
            working[name] = built
    if backend != "auto" and not working:
        raise ConfigError(f"backend {backend!r} cannot run {type(model).__name__}: {found[0].problem}")
    found.append(Candidate(ORIGINAL, None, judge.own, judge.bound))
    runs = {ORIGINAL: original_run(model), **{name: built.run for name, built in working.items()}}
    seconds = measure(runs, example)
    chosen = next(iter(working)) if backend != "auto" else min(seconds, key=lambda name: seconds[name])
    kept = working.get(chosen)
    result = OptimizationReport(
        chosen,
        wanted,
        tuple(example.shape),
        tuple(_with_time(candidate, seconds.get(candidate.backend)) for candidate in found),
        kept.program.rewrites if kept else {},
    )
    return OptimizedModel(model, example, result, calibration=calibration, built=kept)


def measure(runs: dict[str, Run], example: Tensor, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median time of each run, in seconds, over interleaved rounds after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run(example)
            if example.is_cuda:
                torch.cuda.synchronize(example.device)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class _Judge:
    """Compares runs with the model in float64, on the example and on two random inputs of other sizes."""

    def __init__(self, model: nn.Module, example: Tensor, dtype: str, tolerance: float | None) -> None:
        generator = torch.Generator().manual_seed(0)
        half = [max(side // 2 // 32 * 32, side % 32) or side for side in example.shape[2:]]
        shapes = [(2, example.shape[1], *example.shape[2:]), (1, example.shape[1], *half)]
        random = [torch.rand(shape, generator=generator).to(example) for shape in shapes]
        reference = copy.deepcopy(model).double()
        self.rms = dtype != "float32"
        self.pairs: list[tuple[Tensor, Tensor]] = []
        for x in (example, *random):
            try:
                self.pairs.append((x, original_run(reference)(x.double()).cpu()))
            except (InputError, RuntimeError):  # a network of one size
                if x is example:
                    raise
        del reference
        self.own = self.error(original_run(model))
        exact = LENIENCY * max(self.own, torch.finfo(torch.float32).eps)
        self.bound = tolerance if tolerance is not None else TOLERANCES.get(dtype, exact)

    def error(self, run: Run, accepts: Callable[[Tensor], bool] = lambda _: True) -> float:
        """The largest error over the inputs that are accepted."""
        fitting = [(x, expected) for x, expected in self.pairs if accepts(x)]
        return max(self._difference(run(x).double().cpu(), expected) for x, expected in fitting)

    def _difference(self, actual: Tensor, expected: Tensor) -> float:
        if actual.shape != expected.shape or not actual.isfinite().all():
            return float("inf")
        difference = actual - expected
        if self.rms:
            return float(difference.square().mean().sqrt() / expected.square().mean().sqrt().clamp(min=1e-30))
        return float(difference.abs().max() / expected.abs().max().clamp(min=1e-30))


def _try(
    name: str,
    model: nn.Module,
    example: Tensor,
    dtype: DType,
    judge: _Judge,
    calibration: Sequence[Tensor],
    *,
    asked: bool,
) -> tuple[Candidate, Built | None]:
    backend = get_backend(name)
    problem = _unsuitable(backend, example, dtype)
    if not problem and not asked and example.device.type in backend.by_name:
        problem = "takes long to build; ask for it by name"
    if problem:
        return Candidate(name, problem=problem), None
    start = time.perf_counter()
    try:
        built = build(name, model, example, dtype, calibration)
        error = judge.error(built.run, built.program.accepts)
    except Exception as failure:  # of a library: the next backend may do
        reason = f"{type(failure).__name__}: {failure}".strip().splitlines()[0][:200]
        return Candidate(name, preparation=time.perf_counter() - start, problem=reason), None
    seconds = time.perf_counter() - start
    if not error <= judge.bound:
        return Candidate(name, None, error, judge.bound, seconds, "less accurate than allowed"), None
    return Candidate(name, None, error, judge.bound, seconds), built


def _unsuitable(backend: Backend, example: Tensor, dtype: str) -> str:
    if example.device.type not in backend.devices:
        return f"runs on {' and '.join(backend.devices)}, not on {example.device.type}"
    if dtype not in backend.dtypes:
        return f"has no {dtype}"
    return backend.available() or ""


def _names(backend: str) -> list[str]:
    return registry.names("backend") if backend == "auto" else [registry.find("backend", backend).name]


def _with_time(candidate: Candidate, seconds: float | None) -> Candidate:
    return replace(candidate, seconds=seconds)


def _example(model: nn.Module, example: Tensor | None) -> Tensor:
    parameter = next(model.parameters(), torch.zeros(1))
    if example is None:
        ndim = getattr(model, "ndim", 2)
        shape = (1, getattr(model, "in_channels", 3), *(DEFAULT_SIDE[ndim],) * ndim)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.dim() < 3:
        raise InputError(f"example is {_told(example)}; expected a float tensor (N, C, *spatial)")
    check_input = getattr(model, "check_input", None)
    if check_input is not None:
        check_input(example)
    return example.detach().to(parameter.device, torch.float32)


def _told(value: object) -> str:
    return f"a tensor of {value.dtype}, {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
