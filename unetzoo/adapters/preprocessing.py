"""What images must look like for the weights of a pretrained encoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from unetzoo.errors import ConfigError


@dataclass(frozen=True)
class Preprocessing:
    """How the images were prepared that an encoder's weights were learned from.

    An image is brought to `input_range`, then `mean` is taken off and the result divided by `std`, a channel each, in
    the order red, green, blue. `image_size` (H, W) and `interpolation` tell the size of the images and how they were
    resized, where that is known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_range: tuple[float, float]
    interpolation: str | None = None
    image_size: tuple[int, int] | None = None


def preprocessing(model: nn.Module) -> Preprocessing:
    """Return the preprocessing that the weights of the model's encoder expect.

    An encoder for other than three channels was adapted from three: each channel gets the average of their means and
    deviations. Of an encoder of smp's own it is known where the model was created with `pretrained=True`, as smp keeps
    it beside the weights. Raises `ConfigError` for an encoder that has no published weights.
    """
    found = getattr(model, "preprocessing", getattr(getattr(model, "encoder", None), "preprocessing", None))
    if not isinstance(found, Preprocessing):
        raise ConfigError(
            f"the encoder of {type(model).__name__} has no published weights, and so no preprocessing of its own; "
            "normalize the images as you like"
        )
    return found
