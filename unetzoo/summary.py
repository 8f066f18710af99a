"""The modules of a model with their parameters, output sizes and FLOPs, without spending memory on its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unetzoo.errors import InputError
from unetzoo.network import DenseModel

Shapes = dict[str, tuple[tuple[int, ...], ...]]


@dataclass(frozen=True)
class Row:
    """One module: its dotted name, class, parameters (those of its sub-modules included) and output shapes."""

    name: str
    type: str
    params: int
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Summary:
    """A model at one input size; `flops` counts a multiply and add as two."""

    params: int
    flops: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    rows: tuple[Row, ...]


def summarize(build: Callable[[], DenseModel], *, size: Sequence[int] | None = None, depth: int = 3) -> Summary:
    """Run the model that `build` returns on the meta device, which computes shapes alone.

    `size` is the spatial size, one number for all axes or one per axis; default: the card's, or 256. Modules are
    listed down to `depth` dots. Raises `InputError` for a size of another number of axes.
    """
    with torch.device("meta"):
        model = build().eval()
        spatial = _spatial_size(model, size)
        x = torch.empty(1, model.in_channels, *spatial)
    shapes: Shapes = {}
    listed = {name: module for name, module in model.named_modules() if name and name.count(".") < depth}
    hooks = [module.register_forward_hook(partial(_record, shapes, name)) for name, module in listed.items()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        output = model(x)
    for hook in hooks:
        hook.remove()
    rows = [Row(name, type(module).__name__, _params(module), shapes.get(name, ())) for name, module in listed.items()]
    return Summary(_params(model), counter.get_total_flops(), tuple(x.shape), tuple(output.shape), tuple(rows))


def _spatial_size(model: DenseModel, size: Sequence[int] | None) -> tuple[int, ...]:
    sizes = model.card.sizes if model.card is not None else None
    if size is None and sizes is not None and sizes.input is not None and len(sizes.input) == model.ndim:
        return sizes.input
    chosen = tuple(size or ((256,) if model.ndim == 2 else (64,)))
    if len(chosen) not in (1, model.ndim):
        raise InputError(f"size {' '.join(map(str, chosen))}: expected one number, or {model.ndim}, one per axis")
    return chosen * model.ndim if len(chosen) == 1 else chosen


def _record(shapes: Shapes, name: str, module: nn.Module, inputs: object, output: object) -> None:
    tensors = output if isinstance(output, list | tuple) else [output]
    shapes[name] = tuple(tuple(tensor.shape) for tensor in tensors if isinstance(tensor, torch.Tensor))


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
