"""The modules of a network with their parameters, output sizes and FLOPs at one input size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unetzoo.analysis.operations import Operations, watching
from unetzoo.analysis.recording import tensors_in

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Row:
    """One module: its dotted name, class, parameters (those of its sub-modules included) and output shapes."""

    name: str
    type: str
    params: int
    outputs: Shapes


@dataclass(frozen=True)
class Summary:
    """A network at one input size; `flops` counts a multiply and add as two."""

    params: int
    flops: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    rows: tuple[Row, ...]


@torch.no_grad()
def measure_cost(network: nn.Module, x: Tensor, *, depth: int = 3) -> Summary:
    """Run the network on `x` and list its modules down to `depth` dots; the meta device computes shapes alone."""
    shapes: dict[str, Shapes] = {}
    listed = {name: module for name, module in network.named_modules() if name and name.count(".") < depth}

    def note(name: str, module: nn.Module, inputs: object, output: object) -> None:
        shapes[name] = tuple(tuple(tensor.shape) for tensor in tensors_in(output))

    with watching(listed.items(), note), FlopCounterMode(display=False) as counter:
        output = network(x)
    rows = [Row(name, type(module).__name__, _params(module), shapes.get(name, ())) for name, module in listed.items()]
    return Summary(_params(network), counter.get_total_flops(), tuple(x.shape), tuple(output.shape), tuple(rows))


@torch.no_grad()
def count_operations(network: nn.Module, x: Tensor) -> tuple[float, int]:
    """Multiply-accumulate operations of a forward pass, and the numbers that it writes."""
    written: list[int] = []

    def count(operation: object, arguments: object, result: object) -> None:
        written.extend(tensor.numel() for tensor in tensors_in(result))

    with FlopCounterMode(display=False) as counter, Operations(count):
        network(x)
    return counter.get_total_flops() / 2, sum(written)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
