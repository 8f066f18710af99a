"""Preprocessing: how a raw image becomes the input of a model; one implementation for training and for prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unetzoo.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Floats = npt.NDArray[np.float32]

Order = Literal["gray", "rgb", "bgr"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN_MODES = ("1", "L", "I", "I;16", "I;16B", "F", "RGB")  # of PIL images, whose pixels mean values
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to gray
FLATTEST = 1e-5  # deviation, relative to the largest value, of an image that is flat but for rounding


class Preprocessing(BaseModel):
    """How images are prepared for a model. Callable: a raw image to a float32 tensor (N, C, *spatial).

    The steps, in order: unsigned integers are divided by the maximum of their type, to lie in 0 to 1 (`maximum: type`),
    or every image by its own maximum (`maximum: image`); color channels are brought to the order of `channels`; 0 to 1
    is mapped to `input_range`; then `mean` is subtracted and the result divided by `std`, or with `per_image` each
    whole image is brought to zero mean and unit standard deviation over its channels and pixels. Without `input_range`
    values are not scaled.

    Images are not resized: `size` and `interpolation` say what the weights were trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ndim: Literal[2, 3] = Field(2, description="spatial dimensions of an image")
    channels: Order | tuple[str, ...] | None = Field(
        None, description="order of the color channels, or the names of the channels; default: as they come"
    )
    maximum: Literal["type", "image"] = Field(
        "type", description="what becomes 1: the maximum of the integer type, or the maximum of each image"
    )
    input_range: tuple[float, float] | None = Field(
        (0.0, 1.0), description="range that 0 to 1 is mapped to; null: values are not scaled"
    )
    mean: tuple[float, ...] | None = Field(None, min_length=1, description="mean of each channel, in `input_range`")
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, min_length=1, description="standard deviation of each channel, in `input_range`"
    )
    per_image: bool = Field(False, description="zero mean and unit standard deviation of each whole image")
    size: tuple[int, ...] | None = Field(None, description="spatial size of the images that the weights learned from")
    interpolation: str | None = Field(None, description="how those images were resized")
    spacing: tuple[float, ...] | None = Field(None, description="size of a voxel along each axis, in mm")
    orientation: str | None = Field(None, description="anatomical orientation of the volumes, such as RAS")

    @model_validator(mode="after")
    def _fits_together(self) -> Preprocessing:
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std need one value for each channel, both or neither")
        if self.per_image and self.mean is not None:
            raise ValueError("per_image replaces mean and std; leave them out")
        if self.maximum == "image" and self.input_range is None:
            raise ValueError("maximum: image needs an input_range")
        return self

    @classmethod
    def named(cls, name: Literal["image", "imagenet", "none"], *, ndim: int, channels: Order | None) -> Preprocessing:
        """Normalization by the statistics of each image, by those of ImageNet, or none; volumes are not scaled."""
        fixed = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if name == "imagenet" else {}
        scaled = (0.0, 1.0) if ndim == 2 else None
        given = {"ndim": ndim, "channels": channels, "input_range": scaled, "per_image": name == "image", **fixed}
        return cls.model_validate(given)

    @property
    def needs_statistics(self) -> bool:
        """Whether the result depends on the whole image, and not pixel by pixel."""
        return self.per_image or self.maximum == "image"

    def __call__(self, image: Any) -> Tensor:
        """Prepare a raw image.

        Args:
            image: a NumPy array with channels last, (*spatial, C) or (*spatial); a PIL image; or a tensor with channels
                first, (C, *spatial), or (N, C, *spatial) for a batch. Color images are RGB, whatever the model takes.
                Floating-point images lie in 0 to 1 where the preprocessing has an `input_range`.

        Returns:
            A float32 tensor (N, C, *spatial), on the device of a tensor, else on the CPU.

        Raises:
            InputError: the number of axes or channels, or the range of values, does not fit.
        """
        import numpy as np
        import torch

        if isinstance(image, torch.Tensor):
            batch = image if image.ndim == self.ndim + 2 else image[None]
            raw, layout = batch.detach().cpu().numpy(), "(C, *spatial) or (N, C, *spatial)"
        else:
            array = as_array(image)
            array = array[..., None] if array.ndim == self.ndim else array
            raw, layout = np.moveaxis(array, -1, 0)[None] if array.ndim else array, "(*spatial, C) or (*spatial)"
        if raw.ndim != self.ndim + 2 or 0 in raw.shape:
            raise InputError(
                f"the image has shape {tuple(np.shape(image))}; expected {layout} of {self.ndim} dimensions"
            )
        pixels = np.stack([self.arrange(self.scale(each)) for each in raw])
        self.check_values(pixels, raw.dtype)
        prepared = torch.from_numpy(pixels)
        return self.normalize(prepared.to(image.device) if isinstance(image, torch.Tensor) else prepared)

    def scale(self, pixels: npt.NDArray[np.generic]) -> Floats:
        """Return pixels of any shape as float32, unsigned integers scaled to 0 to 1 where the model asks for it.

        Raises `InputError` for what are not real numbers.
        """
        if pixels.dtype.kind not in "uifb":
            raise InputError(f"the image is of type {pixels.dtype}; expected numbers")
        if self.input_range is None or self.maximum == "image":
            return pixels.astype("float32")
        return scale_unsigned(pixels)

    def check_values(self, scaled: Floats, dtype: np.dtype) -> None:
        """Raise `InputError` for an image of type `dtype` far outside 0 to 1, where fixed figures expect that."""
        if dtype.kind not in "if" or self.input_range is None or self.mean is None or self.maximum == "image":
            return
        low, high = self.input_range
        least, most = float(scaled.min()), float(scaled.max())
        if all(low <= mean <= high for mean in self.mean) and not -1 <= least <= most <= 2:
            raise InputError(
                f"the image is of type {dtype} with values from {least:g} to {most:g}; expected 0 to 1, or unsigned "
                "integers, which are scaled by the maximum of their type"
            )

    def arrange(self, pixels: Floats) -> Floats:
        """Return (C, *spatial) with the channels that the model takes; gray and RGB are converted.

        Raises `InputError` for a number of channels that cannot be.
        """
        if self.channels not in get_args(Order):
            wanted = len(self.channels or self.mean or pixels)
            if len(pixels) != wanted:
                raise InputError(f"the image has {len(pixels)} channels; expected {wanted}{self._names()}")
            return pixels
        return convert(pixels, cast(Order, self.channels))

    def normalize(self, batch: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Return scaled and arranged images (N, C, *spatial) as the model takes them.

        `statistics` are those of the whole image where the batch holds parts of one; default: of each of the batch.
        """
        axes = tuple(range(1, batch.ndim))
        if self.maximum == "image":
            peak = batch.amax(axes, keepdim=True) if statistics is None else batch.new_tensor(statistics.maximum)
            batch = batch / peak.clamp_min(1e-30)
        if self.input_range not in (None, (0.0, 1.0)):
            low, high = self.input_range
            batch = batch * (high - low) + low
        if self.mean is not None and self.std is not None:
            if batch.shape[1] != len(self.mean):
                raise InputError(
                    f"normalization for {len(self.mean)} channels got images of {batch.shape[1]}; "
                    "give one mean and deviation for each channel, or convert the images"
                )
            shape = (1, -1, *[1] * (batch.ndim - 2))
            return (batch - batch.new_tensor(self.mean).view(shape)) / batch.new_tensor(self.std).view(shape)
        if not self.per_image:
            return batch
        if statistics is not None:
            return (batch - statistics.mean) / max(statistics.std, FLATTEST * statistics.magnitude, 1e-30)
        centered = batch - batch.mean(axes, keepdim=True)
        least = FLATTEST * batch.abs().amax(axes, keepdim=True).clamp_min(1e-30)
        return centered / centered.square().mean(axes, keepdim=True).sqrt().clamp_min(least)

    def for_channels(self, in_channels: int) -> Preprocessing:
        """Return the preprocessing of weights adapted to another number of channels: the averages of the figures."""
        count = len(self.mean or ()) or {"gray": 1, "rgb": 3, "bgr": 3}.get(str(self.channels), in_channels)
        if count == in_channels:
            return self
        figures = {"mean": self.mean, "std": self.std}
        averages = {name: values and (fmean(values),) * in_channels for name, values in figures.items()}
        return self.model_copy(update={**averages, "channels": usual_order(in_channels)})

    def _names(self) -> str:
        return f": {', '.join(self.channels)}" if isinstance(self.channels, tuple) else ""


@dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation, maximum and largest magnitude over all channels and pixels of one image.

    Added up window by window in float64 (Chan, Golub and LeVeque, 1979).
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    maximum: float = -math.inf
    magnitude: float = 0.0

    @property
    def std(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.squares / self.count)

    def add(self, pixels: Floats) -> Statistics:
        """Return the statistics with further pixels."""
        import numpy as np

        mean = float(pixels.mean(dtype=np.float64))
        squares = float(np.square(pixels - mean, dtype=np.float64).sum())
        total, difference = self.count + pixels.size, mean - self.mean
        return Statistics(
            total,
            self.mean + difference * pixels.size / total,
            self.squares + squares + difference**2 * self.count * pixels.size / total,
            max(self.maximum, float(pixels.max())),
            max(self.magnitude, float(np.abs(pixels).max())),
        )


def as_array(image: Any) -> npt.NDArray[np.generic]:
    """An array, or the pixels of a PIL image: upright, without opacity, a palette or another color space as RGB."""
    import numpy as np

    if not hasattr(image, "mode"):
        return np.asarray(image)
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode not in PLAIN_MODES:
        image = image.convert("L" if image.mode == "LA" else "RGB")
    return np.asarray(image)


def usual_order(channels: int) -> Order | None:
    """The order of the channels of a picture that has one or three of them."""
    return "gray" if channels == 1 else "rgb" if channels == 3 else None


def scale_unsigned(pixels: npt.NDArray[np.generic]) -> Floats:
    """Return pixels as float32, those of unsigned integer types divided by the maximum of the type."""
    scaled = pixels.astype("float32")
    if pixels.dtype.kind == "u":
        scaled /= float(2 ** (8 * pixels.dtype.itemsize) - 1)
    return scaled


def convert(pixels: Floats, order: Order) -> Floats:
    """Return gray or RGB pixels (C, *spatial) as gray, RGB or BGR; raises `InputError` for other channels."""
    import numpy as np

    colors = pixels
    if len(colors) not in (1, 3):
        raise InputError(
            f"{len(colors)} channels cannot be converted to {order}; expected 1 (gray) or 3 (RGB). Bands are not "
            "dropped: choose them beforehand, or train a model with as many input channels"
        )
    if order == "gray":
        return colors if len(colors) == 1 else np.tensordot(np.array(LUMA, np.float32), colors, 1)[None]
    colors = np.repeat(colors, 3, axis=0) if len(colors) == 1 else colors
    return colors[::-1] if order == "bgr" else colors
