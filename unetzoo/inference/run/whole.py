"""An image that fits one tile: the network runs on it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from unetzoo.errors import ConfigError
from unetzoo.images.windows import Window
from unetzoo.inference.plan.geometry import Tile
from unetzoo.inference.run.exact import Read


class WholeRunner:
    """One run of the network on the whole image.

    Args:
        network: in evaluation mode; returns the input's size.
        read: gives the image `(1, C, *shape)`.
        shape: of the image.

    Attributes:
        steps: 1.
        total: 1.
        logits: `(C, *shape)`.

    Raises:
        ConfigError: the network returned another size.
    """

    steps = total = 1

    def __init__(self, network: nn.Module, read: Read, shape: Sequence[int]) -> None:
        self._window: Window = tuple(slice(0, length) for length in shape)
        with torch.inference_mode():
            self.logits: Tensor = network(read([Tile(self._window, self._window)]))[0]
        if tuple(self.logits.shape[1:]) != tuple(shape):
            raise ConfigError(
                f"exact tiling is not possible: the network makes {tuple(self.logits.shape[1:])} of {tuple(shape)} "
                "pixels; use mode='mirror' for unpadded convolutions"
            )

    def run(self, done: int, tick: Callable[[], None]) -> Iterator[list[tuple[Window, Tensor]]]:
        """Yields the whole, unless it is done."""
        if not done:
            tick()
            yield [(self._window, self.logits)]
