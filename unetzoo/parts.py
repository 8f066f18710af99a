"""What each part of a network promises; any object that keeps these promises is a part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch

from unetzoo.nn.typing import Size


@runtime_checkable
class Encoder(Protocol):
    """Built as `Encoder(in_channels, *, ndim, ...)`; maps (N, in_channels, *S) to features, finest first.

    `channels` and `strides` have one entry a level; a stride is how much coarser than the image the level is.
    """

    channels: Sequence[int]
    strides: Sequence[Size]

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor a level."""


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
    strides: Sequence[Size]

    def __call__(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor a decoded level."""


@runtime_checkable
class Head(Protocol):
    """Built as `Head(channels, strides, num_classes, *, ndim, ...)`; maps decoded features and a size to logits."""

    def __call__(self, features: list[torch.Tensor], size: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits at `size`; a list, finest first, in training mode with deep supervision."""


@runtime_checkable
class Checkpointable(Protocol):
    """A module inside a part that can compute its activations again in the backward pass."""

    def set_gradient_checkpointing(self, enable: bool) -> None:
        """Turn it on or off."""


@runtime_checkable
class Layered(Protocol):
    """An encoder that knows the order of its layers more finely than by the levels of its features."""

    def layer_distances(self) -> dict[str, int] | None:
        """Return how many layers each parameter is from the decoder, 1 for the last layer's; None if not known."""
