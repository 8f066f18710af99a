"""The modules of a model with their parameters, output sizes and FLOPs, without spending memory on its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from unetzoo.analysis.cost import Summary, measure_cost
from unetzoo.errors import InputError
from unetzoo.network import DenseModel


def summarize(build: Callable[[], DenseModel], *, size: int | Sequence[int] | None = None, depth: int = 3) -> Summary:
    """Run the model that `build` returns on the meta device, which computes shapes alone.

    Args:
        build: makes the model; called on the meta device.
        size: spatial size, one number for all axes or one an axis; default: the card's, or 256, or 64 in 3-D.
        depth: modules are listed down to this many dots.

    Raises:
        InputError: `size` has another number of axes, or is too small.
    """
    with torch.device("meta"):
        model = build().eval()
        return measure_cost(model, torch.empty(1, model.in_channels, *_spatial_size(model, size)), depth=depth)


def _spatial_size(model: DenseModel, size: int | Sequence[int] | None) -> tuple[int, ...]:
    sizes = model.card.sizes if model.card is not None else None
    if size is None and sizes is not None and sizes.input is not None and len(sizes.input) == model.ndim:
        return sizes.input
    if isinstance(size, int):
        size = (size,)
    chosen = tuple(size or ((256,) if model.ndim == 2 else (64,)))
    if len(chosen) not in (1, model.ndim) or min(chosen) < 1:
        raise InputError(f"size {' '.join(map(str, chosen))}: expected one number from 1, or {model.ndim}, one an axis")
    return chosen * model.ndim if len(chosen) == 1 else chosen
