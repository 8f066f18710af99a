"""What stops a run, told so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from unetzoo.errors import TrainingError
from unetzoo.training.recipe import Recipe


class NonFiniteError(TrainingError):
    """A loss or gradient that is NaN or infinite, with the names of the batch's files."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


@contextmanager
def memory_advice(recipe: Recipe) -> Iterator[None]:
    """Turn an allocation that fails, on the GPU or the CPU, into a `TrainingError` that says what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _advice(recipe, error) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _advice(recipe, error) from error


def _advice(recipe: Recipe, error: Exception) -> TrainingError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    advice = [f"batch_size (now {recipe.batch_size}; raise accumulate with it)", f"data.crop (now {recipe.data.crop})"]
    if not recipe.gradient_checkpointing:
        advice.append("the memory of activations by gradient_checkpointing: true")
    return TrainingError(
        f"out of memory: {first}\nLower {', or '.join(advice)}; --precision bf16 halves what activations take"
    )
