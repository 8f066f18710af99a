"""What runs in a forward and what a network holds on to, so that a message can name the culprit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from unetzoo.analysis.operations import ModuleTrace, Operations
from unetzoo.conformance.definition.outcomes import CheckFailed, NotApplicable, Unavailable
from unetzoo.conformance.measuring.failure import describe


def other_floats(model: nn.Module, x: Tensor, allowed: Sequence[str] = ()) -> list[str]:
    """The operations of a float64 forward that see a tensor of another precision, outside of the modules allowed."""
    with ModuleTrace(model) as trace:
        seen = _OtherFloats(trace, allowed)
        with Operations(seen.look):
            model(x)
    return seen.found


class _OtherFloats:
    """Collects the operations that see a floating or complex tensor of another precision than float64.

    Scalars are let pass: a Python number becomes one, in the default type. So are casts to float64, where another
    precision came from was met before; and random draws with what compares them, as a mask of dropout is made.
    """

    def __init__(self, trace: ModuleTrace, allowed: Sequence[str]) -> None:
        self.trace = trace
        self.allowed = allowed
        self.found: list[str] = []

    def look(self, operation: object, arguments: tuple[object, ...], result: object) -> None:
        to = result.dtype if isinstance(result, Tensor) else None
        cast = operation is torch.ops.aten._to_copy.default and to == torch.float64
        if cast or to == torch.bool or torch.Tag.nondeterministic_seeded in getattr(operation, "tags", ()):
            return
        path = self.trace.path
        if not any(path == name or path.startswith(f"{name}.") for name in self.allowed):
            for value in tree_leaves((result, arguments)):
                if isinstance(value, Tensor) and value.dim() and _is_other(value.dtype):
                    self.found.append(f"{operation} on {value.dtype} {list(value.shape)} in {self.trace.where}")
                    break


def _is_other(dtype: torch.dtype) -> bool:
    return (dtype.is_floating_point and dtype != torch.float64) or (dtype.is_complex and dtype != torch.complex128)


@contextmanager
def blame(doing: str, hint: str = "") -> Iterator[None]:
    """Turn an error inside the block into CheckFailed that names the module and line in which it was raised.

    `doing` says what was tried, `hint` the likely cause.
    """
    try:
        yield
    except (CheckFailed, NotApplicable, Unavailable):
        raise
    except Exception as error:  # whatever a network raises when it is used like this is the finding
        raise CheckFailed(f"{doing} raised {brief(describe(error))}. {hint}".rstrip(". ") + ".") from error


def brief(text: object, limit: int = 400) -> str:
    """The text on one line, shortened."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def listing(names: list[str], limit: int = 5) -> str:
    """The first names of a list, and how many there are beyond them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def attributes(model: nn.Module) -> Iterator[tuple[str, object]]:
    """Every object on the modules, their classes and the files that define them, with a path to it."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = {k: v for k, v in vars(module).items() if k not in {"_parameters", "_buffers", "_modules"}}
        yield from _walk(f"{name or 'model'}.", own, seen)
    classes = dict.fromkeys(cls for module in model.modules() for cls in type(module).__mro__)
    files = {}
    for cls in (c for c in classes if c is not object and not c.__module__.startswith("torch")):
        yield from _walk(f"class {cls.__name__}: ", dict(vars(cls)), seen)
        for function in (v for v in vars(cls).values() if isinstance(v, FunctionType)):
            defaults = dict(enumerate(function.__defaults__ or ()))
            yield from _walk(f"defaults of {cls.__name__}.{function.__name__}: ", defaults, seen)
            files[cls.__module__] = function.__globals__
    for name, globals_ in files.items():
        public = {k: v for k, v in globals_.items() if not k.startswith("__")}
        yield from _walk(f"{name}: ", public, seen, depth=2)


def _walk(
    prefix: str, values: dict[str, object] | dict[int, object], seen: set[int], depth: int = 4
) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if id(value) in seen or isinstance(value, nn.Module):
            continue
        if isinstance(value, (Tensor, list, tuple, dict, set, deque)):
            seen.add(id(value))
            yield f"{prefix}{key}", value
        if depth and isinstance(value, dict):
            yield from _walk(f"{prefix}{key}.", dict(value), seen, depth - 1)
        elif depth and isinstance(value, (list, tuple, deque)):
            yield from _walk(f"{prefix}{key}.", dict(enumerate(value)), seen, depth - 1)
