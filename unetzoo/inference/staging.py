"""The operations of a network, recorded once, and replayed in parts: some on tiles, some on whole coarse maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unetzoo.errors import ConfigError

Strides = tuple[int, ...]
INPUT = -1


@dataclass(frozen=True)
class Operation:
    """One call that the network makes on tensors.

    Attributes:
        function: what is called.
        inputs: the operations whose results it takes, `INPUT` for the image.
        shapes: of the tensors it returns, for the recorded image; none for a call that returns no tensor.
        strides: downsampling factor of those tensors along each axis, which holds for images of every size;
            None where the size does not follow the image's: pooling over the whole image, or axes that were reshaped.
        surplus: pixels along each axis that they have beyond the image's size divided by the strides.
        constant: whether they have the same shape for images of every size.
        single: whether it returns one tensor instead of a tuple or list.
    """

    function: object
    inputs: frozenset[int]
    shapes: tuple[torch.Size, ...]
    strides: Strides | None
    surplus: tuple[int, ...]
    constant: bool
    single: bool

    @property
    def aligned(self) -> bool:
        """Whether its tensors are the image's size divided by the strides, so that windows of both correspond."""
        return self.strides is not None and not any(self.surplus)

    @property
    def depends_on_image(self) -> bool:
        """Whether any of its inputs does, directly or not."""
        return bool(self.inputs)


@dataclass(frozen=True)
class Recording:
    """The operations of one forward pass in order, which of them gives the output, and the channels of the image."""

    operations: tuple[Operation, ...]
    output: int
    in_channels: int

    @property
    def align(self) -> Strides:
        """Along each axis the coarsest stride: tiles that start at its multiples are cut alike on every map."""
        known = [op.strides for op in self.operations if op.strides is not None]
        return tuple(math.lcm(*along) for along in zip(*known, strict=True))


def record(network: nn.Module, in_channels: int, sizes: tuple[Sequence[int], Sequence[int]], like: Tensor) -> Recording:
    """Runs the network on images of two sizes and keeps what it calls.

    Args:
        network: in evaluation mode; `(N, C, *spatial)` to one tensor.
        in_channels: of the images.
        sizes: two spatial sizes that differ along every axis and are multiples of all strides.
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
        operations.append(Operation(call.function, call.inputs, call.shapes, strides, surplus, constant, call.single))
    return Recording(tuple(operations), first.output, in_channels)


@dataclass(frozen=True)
class _Call:
    function: object
    inputs: frozenset[int]
    shapes: tuple[torch.Size, ...]
    single: bool


class _Recorder(TorchFunctionMode):
    def __init__(self, image: Tensor) -> None:
        super().__init__()
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
        self.calls.append(_Call(func, inputs, shapes, isinstance(result, Tensor)))
        return result


def _record_once(network: nn.Module, image: Tensor) -> _Recorder:
    recorder = _Recorder(image)
    with torch.inference_mode(), recorder:
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
    """The tensors of nested tuples, lists and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, Mapping):
        yield from tensors_in(tuple(values.values()))


class _Finished(Exception):
    """All wanted results are there; the rest of the network need not run."""


class _Replay(TorchFunctionMode):
    def __init__(
        self,
        recording: Recording,
        size: Sequence[int],
        wanted: frozenset[int],
        targets: frozenset[int],
        given: Callable[[int], list[Tensor] | None],
    ) -> None:
        super().__init__()
        self._operations = recording.operations
        self._size = size
        self._wanted = wanted
        self._missing = set(targets)
        self._given = given
        self._index = -1
        self.results: dict[int, list[Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        self._index += 1
        if self._index >= len(self._operations) or self._operations[self._index].function != func:
            self._fail("calls other operations for this image size")
        operation = self._operations[self._index]
        if not operation.depends_on_image or not operation.shapes:
            return func(*args, **kwargs)
        if self._index not in self._wanted:
            given = self._given(self._index)
            return self._packed(operation, self._placeholders(operation) if given is None else given)
        if any(tensor.is_meta for tensor in tensors_in((args, tuple(kwargs.values())))):
            self._fail(f"uses a result of {func} before it is computed")
        result = func(*args, **kwargs)
        if self._index in self._missing:
            self.results[self._index] = list(tensors_in((result,)))
            self._missing.remove(self._index)
            if not self._missing:
                raise _Finished
        return result

    def _placeholders(self, operation: Operation) -> list[Tensor]:
        if operation.strides is None:
            return [torch.empty(shape, device="meta") for shape in operation.shapes]
        axes = zip(self._size, operation.strides, operation.surplus, strict=True)
        spatial = [length // stride + more for length, stride, more in axes]
        return [torch.empty(*shape[:2], *spatial, device="meta") for shape in operation.shapes]

    @staticmethod
    def _packed(operation: Operation, tensors: list[Tensor]) -> object:
        return tensors[0] if operation.single else tuple(tensors)

    @staticmethod
    def _fail(what: str) -> NoReturn:
        raise ConfigError(f"the network {what}, so it cannot be run in stages; use mode='blend'")


def replay(
    network: nn.Module,
    recording: Recording,
    image: Tensor,
    *,
    wanted: frozenset[int],
    targets: frozenset[int],
    given: Callable[[int], list[Tensor] | None],
) -> dict[int, list[Tensor]]:
    """Runs the wanted operations alone and returns the tensors of those among them that are targets.

    Args:
        network: the recorded one.
        recording: of it.
        image: `(N, C, *spatial)`; on the meta device where no wanted operation reads it.
        wanted: the operations to run. Everything else returns what `given` has for it, or a placeholder without data.
        targets: the wanted operations whose results to return.
        given: an operation's index to its tensors at the size of this image, or None.

    Raises:
        ConfigError: a wanted operation gets a placeholder, or the network does not repeat what was recorded.
    """
    mode = _Replay(recording, image.shape[2:], wanted, targets, given)
    try:
        with torch.inference_mode(), mode:
            network(image)
    except _Finished:
        return mode.results
    raise ConfigError("the network ended before its recorded output was reached, so it cannot be run in stages")
