"""The interface of each part of a network; any module that has it is a part."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Encoder(Protocol):
    """Built as `Encoder(in_channels, *, ndim, ...)`; maps (N, in_channels, *S) to features, finest first.

    `channels` and `strides` have one entry per level; a stride is the downsampling factor against the image.
    """

    channels: Sequence[int]
    strides: Sequence[int | tuple[int, ...]]

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""


@runtime_checkable
class Center(Protocol):
    """Built as `Center(channels, *, ndim, ...)`; maps the coarsest features to a tensor of the same shape."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the changed features."""


@runtime_checkable
class Decoder(Protocol):
    """Built as `Decoder(channels, strides, *, ndim, ...)`; maps features to decoded features, finest first.

    `channels` and `strides` describe the decoded features.
    """

    channels: Sequence[int]
    strides: Sequence[int | tuple[int, ...]]

    def __call__(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor per decoded level."""


@runtime_checkable
class Head(Protocol):
    """Built as `Head(channels, strides, num_classes, *, ndim, ...)`; maps decoded features and a size to logits."""

    def __call__(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits at `size`; a list, finest first, in training mode with deep supervision."""


@runtime_checkable
class Checkpointable(Protocol):
    """A module inside a part that supports activation checkpointing."""

    def set_gradient_checkpointing(self, enable: bool) -> None:
        """Turn it on or off."""


@runtime_checkable
class Layered(Protocol):
    """An encoder that knows the order of its layers more finely than by the levels of its features."""

    def layer_distances(self) -> dict[str, int] | None:
        """Return how many layers each parameter is from the decoder, 1 for the last layer's; None if not known."""


@runtime_checkable
class Undecayed(Protocol):
    """A module with parameters that weight decay harms, as timm's transformers have it."""

    def no_weight_decay(self) -> Collection[str]:
        """Return the names of these parameters inside the module."""


@runtime_checkable
class Validating(Protocol):
    """A component that checks what a call of `create` asks of it, beyond the types of its options."""

    @staticmethod
    def validate(options: Mapping[str, object], *, pretrained: bool) -> None:
        """Raise `ConfigError` for options, as given in the call, that contradict each other or `pretrained`."""
