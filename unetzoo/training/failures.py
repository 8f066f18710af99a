"""Errors that stop a run, with what to do about them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from unetzoo.errors import CheckpointError, TrainingError
from unetzoo.training.recipe import Recipe

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CPU_ALLOCATION = ("DefaultCPUAllocator", "not enough memory")


class NonFiniteError(TrainingError):
    """A loss or gradient that is NaN or infinite, with the names of the batch's files."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


@contextmanager
def explained(recipe: Recipe, last: Path) -> Iterator[None]:
    """Turn memory or disk space that does not suffice into a `TrainingError` that says what to do.

    `last` is the checkpoint that a run is resumed from.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _advice(recipe, error) from error
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in CPU_ALLOCATION):
            raise
        raise _advice(recipe, error) from error
    except (OSError, SafetensorError, CheckpointError) as error:
        if not any(os.strerror(number) in str(error) for number in NO_SPACE):
            raise
        kept = f"; the checkpoint {last} is kept. Make room, and go on by --resume" if last.exists() else ""
        raise TrainingError(f"a file could not be written: {error}{kept}") from error


def _advice(recipe: Recipe, error: Exception) -> TrainingError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    advice = [f"batch_size (now {recipe.batch_size}; raise accumulate with it)", f"data.crop (now {recipe.data.crop})"]
    if not recipe.gradient_checkpointing:
        advice.append("the memory of activations by gradient_checkpointing: true")
    return TrainingError(
        f"out of memory: {first}\nLower {', or '.join(advice)}; --precision bf16 halves what activations take"
    )
