"""Networks of other libraries behind our contract: any size, logits alone, and their own state-dict keys still load."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from unetzoo.analysis.usage import unused_parameters
from unetzoo.errors import PluginError
from unetzoo.network import DenseModel
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import checkpointing
from unetzoo.nn.resampling import interpolate_antialiased

KEPT = 64  # networks whose unused parameters are remembered, the latest
_UNUSED: dict[str, tuple[tuple[str, ...], Mapping[str, object]]] = {}


class WrappedModel(DenseModel):
    """A network of another library as `self.network`; a subclass says how it is called.

    Inputs are padded with zeros at the far end of each axis to multiples of `divisor`, or resized to `fixed_size`
    where the network works at one size alone; outputs are cropped or resized back. `layouts` renames the library's
    state-dict keys to ours. Parameters that the network does not use stay, for the sake of its checkpoints, and are
    kept from the optimizer: `requires_grad` is False.
    """

    network: nn.Module

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        ndim: int,
        divisor: int | Sequence[int] = 1,
        fixed_size: Sequence[int] | None = None,
        min_size: int = 1,
        make_head: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels, num_classes=num_classes, ndim=ndim, min_size=min_size, make_head=make_head
        )
        self.divisor = (divisor,) * ndim if isinstance(divisor, int) else tuple(divisor)
        self.fixed_size = None if fixed_size is None else tuple(fixed_size)
        self.layouts: dict[str, dict[str, str | None]] = {}
        self._unused: tuple[str, ...] = ()
        self._checkpointed: tuple[str, ...] = ()

    def call(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run the network on what `forward` prepared; return its logits, finest first."""
        return [self.network(x)]

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits of (N, in_channels, *spatial); a list, finest first, with deep supervision in training."""
        self.check_input(x)
        size = x.shape[2:]
        with checkpointing(map(self.get_submodule, self._checkpointed)):
            outputs = [self._restore(logits, size) for logits in self.call(self._prepare(x))]
        return outputs[0] if len(outputs) == 1 else outputs

    def unfreeze_encoder(self) -> None:
        """Let the encoder learn again, but for what the network does not use."""
        super().unfreeze_encoder()
        self._set_aside()

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        """Enable activation checkpointing inside the network's blocks."""
        self._checkpointed = tuple(self.find_blocks(self)) if enable else ()

    def find_blocks(self, module: nn.Module) -> Iterator[str]:
        """The names of the outermost blocks in `module`; lists of modules, which are never called, do not count."""
        for name, child in module.named_children():
            called = any(child.children()) and type(child) not in (nn.ModuleList, nn.ModuleDict)
            if called and self.is_block(module, child):
                yield name
            else:
                yield from (f"{name}.{inner}" for inner in self.find_blocks(child))

    def is_block(self, parent: nn.Module, child: nn.Module) -> bool:
        """Whether a module with submodules is a block of the network: one of a row of such modules."""
        return isinstance(parent, (nn.Sequential, nn.ModuleList, nn.ModuleDict))

    def _prepare(self, x: torch.Tensor) -> torch.Tensor:
        if self.fixed_size is not None:
            return interpolate_antialiased(x, self.fixed_size)
        return pad_to_multiple(x, self.divisor)

    def _restore(self, logits: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        if self.fixed_size is not None:
            return interpolate_antialiased(logits, size)
        for axis, side in enumerate(size, start=2):
            logits = logits.narrow(axis, 0, side)
        return logits

    def find_unused(self, size: Sequence[int], built_from: Mapping[str, object]) -> None:
        """Find the parameters that an image of `size` does not reach, by shapes alone, and keep them from learning.

        Networks `built_from` the same options are looked at once, since it takes longer than building them.
        """
        key = repr((type(self), *size)) + json.dumps(built_from, default=id)
        if key not in _UNUSED:
            image = torch.empty(2, self.in_channels, *size, device="meta")
            # Kept with its options, so that no other object comes by the id of one of them.
            _UNUSED[key] = tuple(unused_parameters(self, image)), built_from
            if len(_UNUSED) > KEPT:
                del _UNUSED[next(iter(_UNUSED))]
        self._unused, _ = _UNUSED[key]
        self._set_aside()

    def _set_aside(self) -> None:
        for name in self._unused:
            self.get_parameter(name).requires_grad_(False)


def pad_to_multiple(x: torch.Tensor, divisor: Sequence[int]) -> torch.Tensor:
    """Pad (N, C, *S) with zeros at the end of each axis to the next multiple of its divisor."""
    spare = [dims.round_up(side, multiple) - side for side, multiple in zip(x.shape[2:], divisor, strict=True)]
    if all(type(pixels) is int and pixels == 0 for pixels in spare):
        return x
    return F.pad(x, [pixels for short in reversed(spare) for pixels in (0, short)])


def make_constant(network: nn.Module) -> list[str]:
    """Take whole-number buffers, but for batch counters, out of the state dict; return their names."""
    constant = []
    for path, module in network.named_modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not buffer.is_floating_point() and name != "num_batches_tracked":
                module.register_buffer(name, buffer, persistent=False)
                constant.append(f"{path}.{name}" if path else name)
    return constant


def import_library(module: str, *, extra: str, wanted_for: str) -> ModuleType:
    """Import a library that is an extra; `PluginError` says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise PluginError(
            f"{wanted_for!r} needs {package}, which cannot be imported ({error}); pip install 'unetzoo[{extra}]'"
        ) from error


def component(make: Callable[..., DenseModel], card: Mapping[str, object], **bound: object) -> partial[DenseModel]:
    """Return what a provider gives: `make` with some arguments set, and the model's card."""
    made = partial(make, **bound)
    made.about = dict(card)  # type: ignore[attr-defined]
    return made
