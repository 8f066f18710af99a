"""Which strides the paths from output to input pass: the path-stride spectrum, from the autograd graph alone.

Back-propagation is linear. Zeroing the gradient at every node whose feature map is coarser than stride `s` leaves the
paths of largest stride at most `s`; the difference of consecutive `s` is what flows through stride `s` exactly.
It needs no module names and no hooks in the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

GLOBAL = 1 << 20
"""Bucket of maps of one pixel: global pooling, not a stride."""


@dataclass(frozen=True)
class Spectrum:
    """`alive` strides carry gradient; `connected` ones have a path in the graph, alive or not.

    `decoded` are the strides of maps that are made of coarser ones, where the skip of a U-Net would join. At full
    resolution `refined` tells whether kernels see the image itself and, again, what has been enlarged.
    """

    alive: tuple[int, ...]
    connected: tuple[int, ...]
    decoded: tuple[int, ...]
    refined: bool

    @property
    def dead(self) -> tuple[int, ...]:
        """Strides with a path in the graph that carries nothing."""
        return tuple(s for s in self.connected if s not in self.alive)


def path_spectrum(x: Tensor, loss: Tensor) -> Spectrum:
    """The spectrum of `loss`, a scalar of the output for `x`, which requires grad, in float64."""
    nodes = list(_graph(loss.grad_fn))
    strides, gradients = _by_stride(x, loss, nodes)
    decoded = tuple(level for level in gradients if _is_decoded(level, nodes, strides))
    scale = float(sum(gradients.values(), torch.zeros_like(x)).abs().max())
    if scale == 0:
        return Spectrum((), tuple(gradients), decoded, refined=False)
    alive = [level for level, gradient in gradients.items() if float(gradient.abs().max()) > 1e-9 * scale]
    refined = 1 in decoded and 1 not in alive and len(_sides(x, nodes, strides)) == 2
    connected = [level for level in gradients if _is_connected(level, loss.grad_fn, x, strides)]
    return Spectrum(tuple(alive), tuple(connected), decoded, refined)


def path_gradients(x: Tensor, loss: Tensor) -> dict[int, Tensor]:
    """The gradient of `loss` by `x` that flows through each stride, finest first; together they are the whole."""
    return _by_stride(x, loss, list(_graph(loss.grad_fn)))[1]


def _by_stride(x: Tensor, loss: Tensor, nodes: list[Node]) -> tuple[dict[Node, int], dict[int, Tensor]]:
    strides: dict[Node, int] = {}

    def note(node: Node) -> object:
        return node.register_prehook(lambda gradients: _record(strides, node, gradients, x.shape))

    handles = [note(node) for node in nodes]
    torch.autograd.grad(loss, x, retain_graph=True)
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    gradients: dict[int, Tensor] = {}
    previous = torch.zeros_like(x)
    for level in sorted(set(strides.values())):
        current = _gradient_up_to(level, loss, x, strides)
        gradients[level] = current - previous
        previous = current
    return strides, gradients


def _graph(root: Node | None) -> Iterator[Node]:
    seen: set[Node] = set()
    stack = [root] if root is not None else []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(after for after, _ in node.next_functions if after is not None)


def _record(strides: dict[Node, int], node: Node, gradients: Sequence[Tensor | None], shape: torch.Size) -> None:
    for gradient in gradients:
        stride = None if gradient is None else map_stride(gradient.shape, shape)
        if stride is not None:
            strides[node] = stride


def map_stride(shape: Sequence[int], input_shape: Sequence[int]) -> int | None:
    """Stride of a feature map against the input, channels first or last; None for a tensor that is no map."""
    if len(shape) != len(input_shape) or shape[0] != input_shape[0]:
        return None
    size = input_shape[2:]
    if max(shape[2:]) == 1:
        return GLOBAL
    for spatial in (shape[2:], shape[1:-1]):
        ratios = [round(s / m) for s, m in zip(size, spatial, strict=True) if m]
        near = [abs(s - r * m) < r for s, m, r in zip(size, spatial, ratios, strict=False)]
        if len(set(ratios)) == 1 and ratios[0] >= 1 and all(near):
            return ratios[0]
    return None


def _gradient_up_to(level: int, loss: Tensor, x: Tensor, strides: dict[Node, int]) -> Tensor:
    def block(gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        return tuple(None if g is None else torch.zeros_like(g) for g in gradients)

    handles = [node.register_prehook(block) for node, stride in strides.items() if stride > level]
    try:
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return torch.zeros_like(x) if gradient is None else gradient


def _is_connected(level: int, root: Node | None, x: Tensor, strides: dict[Node, int]) -> bool:
    """Whether a path from root to x has `level` as its largest stride."""
    below: dict[Node, list[Node]] = {}
    above: dict[Node, list[Node]] = {}
    ends: list[Node] = []
    for node in _graph(root):
        if strides.get(node, 1) > level:
            continue
        for after, _ in node.next_functions:
            if after is not None and strides.get(after, 1) <= level:
                below.setdefault(node, []).append(after)
                above.setdefault(after, []).append(node)
        if getattr(node, "variable", None) is x:
            ends.append(node)
    from_output = _reach([root] if root is not None else [], below)
    from_input = _reach(ends, above)
    return any(strides.get(node) == level for node in from_output & from_input)


def _is_decoded(level: int, nodes: list[Node], strides: dict[Node, int]) -> bool:
    """Whether a map of this stride is computed from a coarser one; a gate from the whole image does not count."""
    edges = {node: [after for after, _ in node.next_functions if after is not None] for node in nodes}
    behind = _reach([node for node in nodes if strides.get(node) == level], edges)
    return any(level < strides.get(node, 1) < GLOBAL for node in behind)


def _sides(x: Tensor, nodes: list[Node], strides: dict[Node, int]) -> set[bool]:
    """Of the convolutions of full resolution, with kernels of several pixels: whether coarser maps lie behind them."""
    edges = {node: [after for after, _ in node.next_functions if after is not None] for node in nodes}
    full = {node for node in nodes if strides.get(node) == 1 or getattr(node, "variable", None) is x}
    kernels = [node for node in nodes if "Convolution" in node.name() and node in full and edges[node][0] in full]
    return {
        any(1 < strides.get(behind, 1) < GLOBAL for behind in _reach([node], edges))
        for node in kernels
        if max(node._saved_weight.shape[2:], default=1) > 1  # type: ignore[attr-defined]
    }


def _reach(starts: list[Node], edges: dict[Node, list[Node]]) -> set[Node]:
    seen: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(edges.get(node, []))
    return seen
