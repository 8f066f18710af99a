"""What the levels of an encoder's features are computed from, found by following the features' gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from unetzoo.analysis.operations import leaves, watching
from unetzoo.nn.evaluation import evaluating


@dataclass(frozen=True)
class Level:
    """What the features of one level, and of those finer than it, are computed from, by names inside the encoder.

    parameters: those that the features depend on.
    modules: those that serve these features or what comes before them, and nothing that comes after.
    """

    parameters: frozenset[str]
    modules: tuple[str, ...]


def trace_levels(model: nn.Module, encoder: nn.Module, x: torch.Tensor) -> list[Level]:
    """Run `model` on `x` and return the levels of its part `encoder`, finest first; the model stays as it is.

    A feature that nothing learns for (an encoder that gives the image itself) is no level. Empty if `model` does not
    call the encoder.
    """
    stand_ins = {name: parameter.detach().requires_grad_() for name, parameter in model.named_parameters()}
    real = dict(model.named_parameters())
    inside = {id(parameter): name for name, parameter in encoder.named_parameters()}
    names = {id(stand_in): inside.get(id(real[name])) for name, stand_in in stand_ins.items()}
    calls: list[nn.Module] = []
    outputs: list[object] = []
    layers = watching(leaves(encoder), lambda _name, module, *_: calls.append(module))
    whole = watching([("", encoder)], lambda _name, _module, _inputs, output: outputs.append(output))
    with evaluating(model), layers, whole, torch.enable_grad():
        functional_call(model, stand_ins, (x,))
    features = [feature for feature in _features(outputs[0]) if feature.requires_grad] if outputs else []
    last_calls = {module: index for index, module in enumerate(calls)}
    levels: list[Level] = []
    reached: frozenset[str] = frozenset()
    for feature in features:
        reached |= {name for leaf in _leaves(feature) if (name := names.get(id(leaf))) is not None}
        levels.append(Level(reached, _closed(encoder, reached, last_calls)))
    return levels


def _features(output: object) -> list[torch.Tensor]:
    """The features in what an encoder returned: a list, a mapping, or a list with other things beside it."""
    if isinstance(output, torch.Tensor):
        return [output]
    values = list(output.values()) if isinstance(output, Mapping) else output
    if not isinstance(values, Sequence):
        return []
    if values and isinstance(values[0], (list, tuple)):
        values = values[0]
    return [value for value in values if isinstance(value, torch.Tensor)]


def _leaves(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors that gradients of `tensor` are accumulated in."""
    seen = set()
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]


def _closed(encoder: nn.Module, parameters: frozenset[str], last_calls: Mapping[nn.Module, int]) -> tuple[str, ...]:
    """Names of the modules that hold `parameters` alone, or hold none and run before the last that does."""
    own = {id(parameter) for name, parameter in encoder.named_parameters() if name in parameters}
    last = max((index for module, index in last_calls.items() if own & set(map(id, module.parameters()))), default=-1)

    def visit(name: str, module: nn.Module) -> Iterator[str]:
        held = list(module.parameters())
        latest = max((last_calls.get(inner, -1) for inner in module.modules()), default=-1)
        if all(id(parameter) in own for parameter in held) if held else latest <= last:
            yield name
        else:
            for inner, child in module.named_children():
                yield from visit(f"{name}.{inner}" if name else inner, child)

    return tuple(visit("", encoder))
