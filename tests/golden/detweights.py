"""Deterministic weights and inputs: each tensor follows from its name and shape alone, on any machine.

Two implementations of one architecture must agree under these weights, so that no reference code is needed to test
against a reference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch


def _generator(name: str) -> np.random.Generator:
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:8], "little")))


def weight(name: str, shape: Sequence[int], *, gain: float = 1.0) -> torch.Tensor:
    """Return the state-dict entry `name`: float32, or int64 for a batch counter.

    Matrices and kernels are normal with He's deviation over the fan-in, one-dimensional weights (normalization gains,
    PReLU slopes) uniform in 0.5 to 1.5 times `gain`, running variances uniform in 0.5 to 1.5, all else normal with
    deviation 0.1.
    """
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(tuple(shape), dtype=torch.int64)
    generator = _generator(name)
    if leaf == "running_var":
        values = generator.uniform(0.5, 1.5, shape)
    elif leaf != "running_mean" and len(shape) >= 2:
        values = generator.standard_normal(shape) * math.sqrt(2.0 / max(1, math.prod(shape[1:])))
    elif leaf == "weight":
        values = generator.uniform(0.5, 1.5, shape)
    else:
        values = 0.1 * generator.standard_normal(shape)
    tensor = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return tensor * gain if leaf == "weight" and len(shape) == 1 else tensor


def state_dict(
    shapes: Mapping[str, Sequence[int]], aliases: Mapping[str, str], *, gain: float = 1.0
) -> dict[str, torch.Tensor]:
    """Return the weights of all `shapes`; an alias is a further name of the tensor that it maps to."""
    state = {name: weight(name, shape, gain=gain) for name, shape in shapes.items()}
    return state | {alias: state[name] for alias, name in aliases.items()}


def image(shape: Sequence[int], name: str = "input") -> torch.Tensor:
    """Return a standard-normal float32 input."""
    values = _generator(f"{name}:{tuple(shape)}").standard_normal(tuple(shape))
    return torch.from_numpy(values.astype(np.float32))
