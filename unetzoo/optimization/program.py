"""A network exported and rewritten, ready for backends: for one grid of image sizes, or for all others."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from unetzoo.optimization.backend import BuildOptions, dynamic_shapes, export_input
from unetzoo.optimization.rewriting import rewrite


@dataclass(frozen=True)
class Program:
    """An exported and rewritten network.

    It is right for images whose sizes have the example's remainder modulo the period, if its guards hold.

    Attributes:
        module: the network as a graph of torch operations.
        dynamic: whether batch and spatial sizes vary; otherwise they are the example's.
        period: least common multiple of all strides along each spatial axis.
        shape: of the example.
        guards: raises for an input on which the network would take another branch.
        rewrites: how often each exact rewrite applied, by name.
    """

    module: fx.GraphModule
    dynamic: bool
    period: tuple[int, ...]
    shape: tuple[int, ...]
    guards: nn.Module | None
    rewrites: dict[str, int]

    def accepts(self, x: Tensor) -> bool:
        """Whether the program is the network on inputs of this shape."""
        if tuple(x.shape) == self.shape:
            return True
        sizes = zip(x.shape[2:], self.shape[2:], self.period, strict=True)
        if not self.dynamic or any((size - own) % step for size, own, step in sizes):
            return False
        try:
            if self.guards is not None:
                self.guards(x)
        except (AssertionError, RuntimeError):
            return False
        return True


def export(model: nn.Module, example: Tensor) -> Program:
    """Export a network in evaluation mode and rewrite it; the network itself stays as it is.

    The batch and the spatial sizes vary where the network's sizes can be expressed. Any exception of `torch.export`
    for a fixed size is the caller's.
    """
    network = copy.deepcopy(model).eval().requires_grad_(False)
    for dynamic in (True, False):
        options = BuildOptions(dynamic=dynamic)
        try:
            exported = torch.export.export(
                network, (export_input(example, options),), dynamic_shapes=dynamic_shapes(example, options)
            )
        except Exception:  # whatever the exporter meets in a network that has one size
            if not dynamic:
                raise
            continue
        module = exported.module()
        module.training = False  # it is in evaluation mode, and says otherwise
        guards = _take_guards(module)
        period = _period_of(module, example)
        rewrites = rewrite(module, _Sizes(module, example, period))
        return Program(module, dynamic, period, tuple(example.shape), guards, rewrites)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _period_of(module: fx.GraphModule, example: Tensor) -> tuple[int, ...]:
    """Return the least common multiple of all strides along each spatial axis, from the shapes in the graph."""
    periods = [1] * (example.dim() - 2)
    for node in module.graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ())
        if len(shape) != example.dim():
            continue
        for axis, size in enumerate(example.shape[2:]):
            have = _hint(shape[2 + axis])
            if 0 < have < size and size % have == 0 and (size // have) & (size // have - 1) == 0:
                periods[axis] = math.lcm(periods[axis], size // have)
    return tuple(periods)


class _Sizes:
    """Whether one spatial size in the graph is twice another, for every image size that the graph is for."""

    def __init__(self, module: fx.GraphModule, example: Tensor, period: tuple[int, ...]) -> None:
        self.period = period
        image = next(node for node in module.graph.nodes if node.op == "placeholder").meta["val"].shape
        self.symbols = {
            str(size): axis - 2 for axis, size in enumerate(image) if axis >= 2 and not isinstance(size, int)
        }
        self.offset = [size % step for size, step in zip(example.shape[2:], self.period, strict=True)]

    def __call__(self, large: Sequence[object], small: Sequence[object]) -> bool:
        return all(
            self._at(a, count) == 2 * self._at(b, count)
            for a, b in zip(large, small, strict=True)
            for count in (2, 3, 5, 8, 13)
        )

    def _at(self, size: object, count: int) -> int:
        """The size for an image of `count` periods; it is linear between them, so that a few show it."""
        if isinstance(size, int):
            return size
        expression = size.node.expr  # type: ignore[attr-defined]
        values = {
            symbol: self.offset[axis] + count * self.period[axis]
            for symbol in expression.free_symbols
            if (axis := self.symbols.get(str(symbol))) is not None
        }
        return int(expression.subs(values)) if len(values) == len(expression.free_symbols) else -1


def _take_guards(module: fx.GraphModule) -> nn.Module | None:
    """Take the check of sizes that export adds out of the graph: backends do not know it."""
    taken = None
    for node in list(module.graph.nodes):
        if node.op == "call_module" and "guards" in str(node.target):
            taken = module.get_submodule(str(node.target))
            module.graph.erase_node(node)
    module.recompile()
    return taken


def _hint(size: object) -> int:
    return size if isinstance(size, int) else int(size.node.hint)  # type: ignore[attr-defined]
