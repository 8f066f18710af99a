"""The checkpoint of a run: all that decides what it does next, in one file that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from unetzoo.errors import CheckpointError
from unetzoo.files import replacing

FORMAT = 2


@dataclass
class Position:
    """Where a run is.

    Attributes:
        epoch: epochs that are over.
        step: steps of the current epoch that are over.
        total: steps that are over since the start.
        best: best score yet; None before the first evaluation.
        stale: evaluations since then.
    """

    epoch: int = 0
    step: int = 0
    total: int = 0
    best: float | None = None
    stale: int = 0


@dataclass(frozen=True)
class Launch:
    """The processes of a run, and whether they share out the parameters among them."""

    processes: int
    sharded: bool = False

    def __str__(self) -> str:
        return f"{self.processes} {'sharded ' * self.sharded}process{'es' * (self.processes > 1)}"


def save_state(path: Path, position: Position, learner: Mapping[str, object], launch: Launch) -> None:
    """Write a checkpoint; raises `CheckpointError` if that fails, and the one that was there is still there then."""
    state = {
        "format": FORMAT,
        "launch": asdict(launch),
        "position": asdict(position),
        "learner": dict(learner),
    }
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        # torch raises another RuntimeError while it handles that of a full disk.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        kept = "; the one before is kept" if path.exists() else ""
        raise CheckpointError(f"{path}: the checkpoint could not be written: {cause}{kept}") from error


def load_state(path: Path, launch: Launch) -> tuple[Position, dict[str, Any]]:
    """Return what `save_state` was given.

    Raises `CheckpointError` if the file cannot be read, or if the run had another number of processes, whose batches
    were others, or kept its state otherwise.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise CheckpointError(f"{path}: a checkpoint of format {state['format']}; this version reads {FORMAT}")
        position, before = Position(**state["position"]), Launch(**state["launch"])
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of a run: {error}") from error
    if before != launch:
        raise CheckpointError(
            f"{path}: the run had {before}, this one has {launch}; launch as before, or begin a new run"
        )
    return position, state["learner"]
