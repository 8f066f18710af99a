"""The operations of a network's forward pass, recorded once: what they take, the shapes they give, their strides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unetzoo.analysis.operations import ModuleTrace
from unetzoo.errors import ConfigError

Strides = tuple[int, ...]
INPUT = -1


@dataclass(frozen=True)
class Operation:
    """One call that the network makes on tensors.

    Attributes:
        function: what is called.
        module: dotted name of the module that calls it.
        inputs: the operations whose results it takes, `INPUT` for the image.
        shapes: of the tensors it returns, for the recorded image; none for a call that returns no tensor.
        strides: downsampling factor of those tensors along each axis, which holds for images of every size;
            None where the size does not follow the image's: pooling over the whole image, or axes that were reshaped.
        surplus: pixels along each axis that they have beyond the image's size divided by the strides.
        constant: whether they have the same shape for images of every size.
        single: whether it returns one tensor instead of a tuple or list.
    """

    function: object
    module: str
    inputs: frozenset[int]
    shapes: tuple[torch.Size, ...]
    strides: Strides | None
    surplus: tuple[int, ...]
    constant: bool
    single: bool

    def map_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The spatial size of its tensors for an image of this size; it has strides."""
        assert self.strides is not None
        return tuple(n // stride + more for n, stride, more in zip(size, self.strides, self.surplus, strict=True))

    @property
    def depends_on_image(self) -> bool:
        """Whether any of its inputs does, directly or not."""
        return bool(self.inputs)


@dataclass(frozen=True)
class Recording:
    """The operations of one forward pass.

    Attributes:
        operations: in the order of their calls.
        output: which of them gives the result, `INPUT` for the image itself.
        in_channels: of the image.
        remainder: pixels along each axis by which the sizes of the images exceed multiples of the strides.
    """

    operations: tuple[Operation, ...]
    output: int
    in_channels: int
    remainder: tuple[int, ...]

    @property
    def align(self) -> Strides:
        """Along each axis the coarsest stride: tiles that start at its multiples are cut alike on every map."""
        known = [op.strides for op in self.operations if op.strides is not None]
        return tuple(math.lcm(*along) for along in zip(*known, strict=True))

    def remainder_of(self, size: Sequence[int]) -> tuple[int, ...]:
        """Pixels along each axis by which a size exceeds a multiple of `align`."""
        return tuple(length % step for length, step in zip(size, self.align, strict=True))

    def is_aligned(self, index: int) -> bool:
        """Whether pixel `i` of an operation's maps lies at pixel `i * stride` of the image, so that windows correspond.

        Maps have more pixels than the image divided by the strides only behind the end of an image with a remainder.
        """
        operation = self.operations[index]
        if operation.strides is None:
            return False
        return all(
            more == 0 or (more > 0 and rest > 0) for more, rest in zip(operation.surplus, self.remainder, strict=True)
        )


def record(
    network: nn.Module,
    in_channels: int,
    sizes: tuple[Sequence[int], Sequence[int]],
    like: Tensor,
    remainder: Sequence[int] | None = None,
) -> Recording:
    """Runs the network on images of two sizes and keeps what it calls.

    Args:
        network: in evaluation mode; `(N, C, *spatial)` to one tensor.
        in_channels: of the images.
        sizes: two spatial sizes that differ along every axis by multiples of all strides.
        remainder: pixels by which they exceed multiples of the strides; default: none.
        like: a tensor of the device and type to use.

    Raises:
        ConfigError: the calls depend on the size of the image, or the network returns something else than a tensor.
    """
    first, second = (_record_once(network, like.new_zeros(1, in_channels, *size)) for size in sizes)
    functions = [[call.function for call in calls.calls] for calls in (first, second)]
    if functions[0] != functions[1]:
        raise ConfigError("the network calls other operations for other image sizes, so it cannot be run in stages")
    operations = []
    for call, other in zip(first.calls, second.calls, strict=True):
        strides, surplus = _growth(call.shapes, other.shapes, sizes)
        constant = call.shapes == other.shapes
        operations.append(
            Operation(call.function, call.module, call.inputs, call.shapes, strides, surplus, constant, call.single)
        )
    return Recording(tuple(operations), first.output, in_channels, tuple(remainder or (0,) * len(sizes[0])))


@dataclass(frozen=True)
class _Call:
    function: object
    module: str
    inputs: frozenset[int]
    shapes: tuple[torch.Size, ...]
    single: bool


class _Recorder(TorchFunctionMode):
    def __init__(self, image: Tensor, trace: ModuleTrace) -> None:
        super().__init__()
        self._trace = trace
        self.calls: list[_Call] = []
        self.output = INPUT
        self.producers = {id(image): INPUT}
        self._alive: list[Tensor] = [image]  # keeps every identity unique

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        tensors = list(tensors_in((args, tuple(kwargs.values()))))
        inputs = frozenset(self.producers[id(t)] for t in tensors if id(t) in self.producers)
        result = func(*args, **kwargs)
        outputs = list(tensors_in((result,)))
        if inputs:
            for tensor in outputs:
                self.producers[id(tensor)] = len(self.calls)
                self._alive.append(tensor)
        shapes = tuple(tensor.shape for tensor in outputs)
        self.calls.append(_Call(func, self._trace.path, inputs, shapes, isinstance(result, Tensor)))
        return result


def _record_once(network: nn.Module, image: Tensor) -> _Recorder:
    with torch.inference_mode(), ModuleTrace(network) as trace, _Recorder(image, trace) as recorder:
        output = network(image)
    if not isinstance(output, Tensor):
        raise ConfigError(f"the network returned {type(output).__name__}; expected one tensor of logits")
    recorder.output = recorder.producers.get(id(output), INPUT)
    return recorder


def _growth(
    first: Sequence[torch.Size], second: Sequence[torch.Size], sizes: tuple[Sequence[int], Sequence[int]]
) -> tuple[Strides | None, tuple[int, ...]]:
    """Strides and surplus that all tensors share, from their shapes for two image sizes; None if there are none."""
    found = set()
    for shape, other in zip(first, second, strict=True):
        if len(shape) != len(sizes[0]) + 2 or shape[0] != 1:
            return None, ()
        strides, surplus = [], []
        for length, other_length, image, other_image in zip(shape[2:], other[2:], *sizes, strict=True):
            grown = other_length - length
            if grown == 0 or (other_image - image) % grown or (other_image - image) // grown < 1:
                return None, ()
            strides.append((other_image - image) // grown)
            surplus.append(length - image // strides[-1])
        found.add((tuple(strides), tuple(surplus)))
    return found.pop() if len(found) == 1 else (None, ())


def tensors_in(values: object) -> Iterable[Tensor]:
    """The tensors of nested tuples, lists, mappings and dataclasses."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, Mapping):
        yield from tensors_in(tuple(values.values()))
    elif is_dataclass(values) and not isinstance(values, type):
        yield from tensors_in(tuple(getattr(values, field.name) for field in fields(values)))
