"""A model that runs through a backend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unetzoo.errors import ConfigError
from unetzoo.nn.evaluation import evaluating
from unetzoo.optimization.backend import BuildOptions, DType, Run, get_backend
from unetzoo.optimization.program import Program, export
from unetzoo.optimization.report import ORIGINAL, OptimizationReport

MOST_PROGRAMS = 8


class OptimizedModel(nn.Module):
    """Runs a model for inference through a backend: (N, in_channels, *spatial) to logits, as the model in evaluation.

    One program serves all sizes that exceed multiples of the network's strides by as much as the example's. For others
    further ones are built when they are first met, up to `MOST_PROGRAMS`; what comes after them, or cannot be built,
    runs in the original model. Safe to call from several threads; pickled as the original model, the backend's name
    and the report, and built again where it is loaded. The weights are those at the time of `optimize`.

    Attributes:
        original: the model, unchanged.
        report: what was measured.
    """

    def __init__(
        self,
        original: nn.Module,
        example: Tensor,
        report: OptimizationReport,
        *,
        calibration: Sequence[Tensor] = (),
        built: Built | None = None,
    ) -> None:
        super().__init__()
        self.original = original
        self.report = report
        self._example = example
        self._calibration = calibration
        self._built: list[Built] = [] if built is None else [built]
        self._unbuildable: set[tuple[int, ...]] = set()
        self._lock = threading.Lock()
        self.training = False  # of this module alone: the original keeps its mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of `x`."""
        check_input = getattr(self.original, "check_input", None)
        if check_input is not None:
            check_input(x)
        return self._run_for(x)(x)

    def train(self, mode: bool = True) -> OptimizedModel:
        """Refuse training mode: train `original`, and optimize it again."""
        if mode:
            raise ConfigError("an optimized model is for inference; train its `original` and optimize that again")
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "original":
                raise
            return getattr(super().__getattr__("original"), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.original, self._example, self.report, tuple(self._calibration))

    def _run_for(self, x: Tensor) -> Run:
        with self._lock:
            if self.report.chosen == ORIGINAL or x.device != self._example.device:
                return original_run(self.original)
            for built in self._built:
                if built.program.accepts(x):
                    return built.run
            if len(self._built) + len(self._unbuildable) >= MOST_PROGRAMS or tuple(x.shape) in self._unbuildable:
                return original_run(self.original)
            try:
                built = build(self.report.chosen, self.original, x, self.report.dtype, self._calibration)
            except Exception:  # whatever exporter and backend meet at this size: the original is right at every size
                self._unbuildable.add(tuple(x.shape))
                return original_run(self.original)
            self._built.append(built)
            return built.run


def original_run(model: nn.Module) -> Run:
    """Return the model itself, in evaluation mode and without gradients, as a backend's callable."""

    def run(x: Tensor) -> Tensor:
        with evaluating(model), torch.inference_mode():
            return model(x)

    return run


@dataclass(frozen=True)
class Built:
    """A program, and the callable that a backend made of it."""

    program: Program
    run: Run


def build(backend: str, model: nn.Module, example: Tensor, dtype: DType, calibration: Sequence[Tensor]) -> Built:
    """Export a network and build it; any exception of exporter or backend is the caller's."""
    program = export(model, example)
    options = BuildOptions(dtype, program.dynamic, calibration)
    return Built(program, get_backend(backend).build(program.module, example, options))


def _rebuild(
    original: nn.Module, example: Tensor, report: OptimizationReport, calibration: Sequence[Tensor]
) -> OptimizedModel:
    return OptimizedModel(original, example, report, calibration=calibration)
