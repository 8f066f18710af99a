"""Repeatable runs: every random draw is decided by numbers that a run knows, and every kernel adds in one order."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def mixed(*numbers: int) -> int:
    """One seed out of several numbers; neighbors give unrelated ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_everything(*numbers: int) -> None:
    """Seed the generators of Python, NumPy and torch, on every device, by these numbers.

    Called with the number of every step, this makes what is drawn in it (augmentation, dropout) a function of the step:
    a run that is resumed draws what one never interrupted does, and no generator's state has to be kept.
    """
    seed = mixed(*numbers)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def deterministic() -> Iterator[None]:
    """Kernels that add in one order, where torch has them; afterwards what was set before."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # cuBLAS reads this when it starts; without it matrix products differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
