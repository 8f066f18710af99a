"""The operations of a recording run in parts: some on tiles, some on whole coarse maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unetzoo.analysis.recording import Operation, Recording, tensors_in
from unetzoo.errors import ConfigError


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
        spatial = operation.map_size(self._size)
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
