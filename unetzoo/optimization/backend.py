"""What runs an exported network: the protocol of a backend, and the installed ones by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unetzoo import registry
from unetzoo.errors import PluginError

DType = Literal["float32", "bfloat16", "float16", "int8"]
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BuildOptions:
    """How a backend builds.

    Attributes:
        dtype: numeric type that the backend computes in; inputs and outputs are float32.
        dynamic: whether batch and spatial sizes vary; otherwise they are the example's.
        calibration: inputs that show the range of activations, for `int8`.
    """

    dtype: DType = "float32"
    dynamic: bool = True
    calibration: Sequence[Tensor] = field(default=(), repr=False)


@runtime_checkable
class Backend(Protocol):
    """Runs a network. Registered under the entry-point group `unetzoo.backends`; built without arguments.

    Attributes:
        dtypes: numeric types that it computes in.
        devices: types of the devices that it runs on.
        by_name: those of them on which building takes minutes, so that `auto` leaves it out.
    """

    dtypes: Sequence[DType]
    devices: Sequence[str]
    by_name: Sequence[str]

    def available(self) -> str | None:
        """Return None if the backend can run here, else what is missing and what to install."""

    def build(self, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        """Return a thread-safe callable, float32 (N, C, *spatial) to logits.

        Args:
            module: an exported and rewritten network, in evaluation mode, that the backend may change.
            example: an input on the device to run on.
            options: numeric type and sizes.
        """


def dynamic_shapes(example: Tensor, options: BuildOptions) -> tuple[dict[int, object]] | None:
    """Return what `torch.export` takes for batch and spatial sizes that vary; None for those of the example."""
    if not options.dynamic:
        return None
    return ({axis: torch.export.Dim.AUTO for axis in range(example.dim()) if axis != 1},)


def export_input(example: Tensor, options: BuildOptions) -> Tensor:
    """Return the example with two samples where the batch varies: of one, `torch.export` takes it to be constant."""
    if not options.dynamic or len(example) > 1:
        return example
    return example.expand(2, *example.shape[1:]).contiguous()


def get_backend(name: str) -> Backend:
    """Return a backend by its registered name.

    Raises:
        UnknownNameError: no backend has this name.
        PluginError: what is registered is not a backend.
    """
    backend = registry.get("backend", name)()
    if not isinstance(backend, Backend):
        raise PluginError(
            f"backend {name!r} has no dtypes, devices, by_name, available() or build(module, example, options)"
        )
    return backend
