"""The running average of a network's weights, which often scores better than the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unetzoo.network import DenseModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(model: DenseModel, decay: float) -> AveragedModel:
    """Return the exponential moving average (EMA) of weights and buffers, to be updated after every step.

    The decay grows with the steps, (1 + n) / (10 + n), up to `decay`: a short run's average is not held back by the
    weights that it began with.
    """

    def update(averages: Tensors, current: Tensors, steps: Tensor | int) -> None:
        n = int(steps)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(_held(averages), _held(current), steps)

    with torch.no_grad():
        return AveragedModel(model, multi_avg_fn=update, use_buffers=True).eval()


def _held(tensors: Tensors) -> list[Tensor]:
    """What this process holds of parameters that are sharded (FSDP): their parts are averaged as the whole would be."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
