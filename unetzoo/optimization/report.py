"""What `optimize` tried, what came of it and what it chose."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch

from unetzoo.errors import ConfigError
from unetzoo.optimization.backend import DType

ORIGINAL = "original"


@dataclass(frozen=True)
class Candidate:
    """One backend.

    Attributes:
        backend: its name; `original` is the model itself.
        seconds: median time of one run on the example; None if it was not measured.
        error: largest difference from float64, relative to the largest value; None if it did not run.
        bound: the error allowed.
        preparation: seconds that building took.
        problem: why the backend is out, or empty.
    """

    backend: str
    seconds: float | None = None
    error: float | None = None
    bound: float | None = None
    preparation: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class OptimizationReport:
    """The candidates of one call of `optimize`, and the chosen one; `str()` is a table, `to_json()` for files."""

    chosen: str
    dtype: DType
    shape: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    rewrites: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(
        default_factory=lambda: {"torch": torch.__version__, "machine": platform.machine(), "system": platform.system()}
    )

    @property
    def speedup(self) -> float | None:
        """How many times faster than the original the chosen backend ran the example; None if not measured."""
        seconds = {candidate.backend: candidate.seconds for candidate in self.candidates}
        original, chosen = seconds.get(ORIGINAL), seconds.get(self.chosen)
        return original / chosen if original and chosen else None

    def __str__(self) -> str:
        """Return a table of the candidates, the fastest first."""
        rows = [["backend", "ms", "times faster", "error", "allowed", "prepared in s", ""]]
        original = next((c.seconds for c in self.candidates if c.backend == ORIGINAL), None)
        for one in sorted(self.candidates, key=lambda c: c.seconds or float("inf")):
            rows.append(
                [
                    f"{one.backend} *" if one.backend == self.chosen else one.backend,
                    "" if one.seconds is None else f"{one.seconds * 1e3:.1f}",
                    "" if not one.seconds or not original else f"{original / one.seconds:.2f}",
                    "" if one.error is None else f"{one.error:.1e}",
                    "" if one.bound is None else f"{one.bound:.1e}",
                    f"{one.preparation:.1f}",
                    one.problem,
                ]
            )
        return _table(rows)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> OptimizationReport:
        """Read what `to_json` wrote; raises `ConfigError` for anything else."""
        try:
            data = json.loads(text)
            data["candidates"] = tuple(Candidate(**row) for row in data["candidates"])
            return cls(**{**data, "shape": tuple(data["shape"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"not a report of unetzoo.optimize: {type(error).__name__}: {error}") from error


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
