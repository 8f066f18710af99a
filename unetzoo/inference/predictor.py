"""From raw images to labels: reading, preprocessing, tiling and writing, as the model's own records say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unetzoo.applied import Classes
from unetzoo.errors import ConfigError, InputError
from unetzoo.images.image import Geometry, Image
from unetzoo.images.opening import open_source
from unetzoo.images.output import Output, WritableArray, is_windowed
from unetzoo.images.windows import Window, index, strips
from unetzoo.images.writing import write_labels
from unetzoo.inference.plan.exact import ExactPlan
from unetzoo.inference.planning import plan_exact
from unetzoo.inference.run.tta import Symmetries, TestTimeAugmentation
from unetzoo.inference.tiled import DEFAULT_TILE, Kind, Mode, predict_tiled
from unetzoo.network import DenseModel
from unetzoo.nn.devices import present
from unetzoo.preprocessing import Preprocessing, Statistics
from unetzoo.pretrained import from_pretrained

Labels = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one image.

    Attributes:
        labels: number of the class of each pixel, `(*spatial)`.
        classes: names and colors of the classes.
        probabilities: `(num_classes, *spatial)`, where they were asked for.
        geometry: the image's place in space.
    """

    labels: Labels
    classes: Classes
    probabilities: npt.NDArray[np.float32] | None = None
    geometry: Geometry = field(default_factory=Geometry)

    @property
    def colors(self) -> npt.NDArray[np.uint8]:
        """The labels in the colors of their classes, `(*spatial, 3)`."""
        return self.classes.color(self.labels)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the labels: PNG with the colors as its palette, TIFF, NIfTI, `.npy` or `.npz`, by the suffix."""
        write_labels(self.labels, Path(path), self.classes, self.geometry)


class Predictor:
    """Applies a model to raw images of any size, prepared as its weights expect.

    Args:
        model: a model; or the folder of a training run or of `save_pretrained`, or a hub id, for `from_pretrained`.
        mode: as in `predict_tiled`; default: `exact`, or `mirror` for networks of unpadded convolutions.
        tile: tile size in pixels, one number or one for each axis; default: 1024, or 160 for volumes.
        overlap: of neighboring tiles, as a fraction, for `blend`.
        mirror_ends: for `exact`; extend images whose size is no multiple of the model's stride, as in `predict_tiled`.
        tta: test-time augmentation: `flips`, `all`, or a `TestTimeAugmentation` around the model.
        device: default: where the model is; for a loaded one, a GPU if there is one.
        batch_size: tiles in one run of the model.

    Raises:
        ConfigError: the model has no preprocessing: nobody says what its weights expect.
    """

    def __init__(
        self,
        model: DenseModel | str | PathLike[str],
        *,
        mode: Mode | None = None,
        tile: int | Sequence[int] | None = None,
        overlap: float = 0.5,
        mirror_ends: bool = False,
        tta: Symmetries | TestTimeAugmentation | None = None,
        device: str | torch.device | None = None,
        batch_size: int = 1,
    ) -> None:
        if not isinstance(model, DenseModel):
            model = from_pretrained(model)
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model if device is None else model.to(present(device))
        if model.preprocessing is None:
            raise ConfigError(
                "the model does not say how its images are prepared; set it, such as "
                "model.preprocessing = unetzoo.Preprocessing(channels='rgb', per_image=True)"
            )
        self.preprocessing: Preprocessing = model.preprocessing
        self.classes = model.classes or Classes.numbered(model.num_classes)
        self.mode: Mode = mode or ("mirror" if any(model.capabilities.margin) else "exact")
        self.tile = DEFAULT_TILE[model.ndim] if tile is None else tile
        self.overlap = overlap
        self.mirror_ends = mirror_ends
        self.batch_size = batch_size
        if isinstance(tta, str):
            tta = None if tta == "none" else TestTimeAugmentation(model, symmetries=tta)
        self.tta = tta
        self._plan: ExactPlan | None = None

    @property
    def network(self) -> nn.Module:
        """The model, or the augmentation around it."""
        return self.tta or self.model

    def predict(self, image: Any, *, probabilities: bool = False) -> Prediction:
        """Predict one image.

        Args:
            image: a path, a NumPy array `(*spatial, C)` or `(*spatial)`, a PIL image, or a tensor `(C, *spatial)`.
            probabilities: keep the probability of every class too.

        Raises:
            InputError: what cannot be read, or has other channels or values than the weights expect.
        """
        prepared = self._open(image)
        if not probabilities:
            labels = np.asarray(self._run(prepared, "labels"))
            return Prediction(labels, self.classes, None, prepared.geometry)
        found = np.asarray(self._run(prepared, "probabilities"))
        return Prediction(most_probable(found), self.classes, found, prepared.geometry)

    def predict_file(
        self, path: str | PathLike[str], out: str | PathLike[str], *, probabilities: str | PathLike[str] | None = None
    ) -> WritableArray:
        """Predict an image from file to file, in windows where both formats allow it; returns the labels, opened.

        Args:
            path: the image.
            out: where to write the labels: a name that ends in `.tif`, `.npy` or `.zarr`, which are written in windows,
                or in `.png`, `.nii`, `.nii.gz` or `.npz`. The file appears when it is complete.
            probabilities: where to write the probability of every class, as `.tif`, `.npy` or `.zarr`.

        Raises:
            InputError: an image that cannot be read or does not fit, or a name that cannot be written.
        """
        out = Path(out)
        prepared = self._open(path)
        target = out if is_windowed(out) else None
        if probabilities is None:
            labels = self._run(prepared, "labels", out=target)
        else:
            found = self._run(prepared, "probabilities", out=probabilities)
            labels = self._decide(found, prepared, target)
        if target is None:
            write_labels(np.asarray(labels), out, self.classes, prepared.geometry)
        return labels

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, *spatial) of prepared images (N, C, *spatial), tile by tile."""
        found = [np.asarray(self._run(image, "logits")) for image in images]
        return torch.from_numpy(np.stack(found))

    def _open(self, source: Any) -> PreparedImage:
        return PreparedImage(open_source(source, ndim=self.model.ndim), self.preprocessing, self.model.in_channels)

    def _run(self, image: PreparedImage | Tensor, output: Kind, out: Any = None) -> WritableArray:
        raw = image if isinstance(image, PreparedImage) else None
        shape = raw.shape if raw is not None else tuple(image.shape[1:])
        return predict_tiled(
            self.model,
            image,
            mode=self.mode,
            tile=self.tile,
            overlap=self.overlap,
            plan=self._planned(shape),
            mirror_ends=self.mirror_ends,
            batch_size=self.batch_size,
            prepare=raw.normalize if raw is not None else None,
            tta=self.tta,
            output=output,
            out=out,
        )

    def _planned(self, shape: Sequence[int]) -> ExactPlan | None:
        """The plan of exact tiling, measured once, if an image of this shape is larger than the tile."""
        edges = (self.tile,) * self.model.ndim if isinstance(self.tile, int) else tuple(self.tile)
        if self.mode != "exact" or all(length <= edge for length, edge in zip(shape, edges, strict=True)):
            return None
        if self._plan is None:
            self._plan = plan_exact(self.model, self.model.in_channels, edges)
        return self._plan

    def _decide(self, probabilities: WritableArray, image: PreparedImage, out: Path | None) -> WritableArray:
        """Write the most probable class of every pixel, window by window."""
        dtype = np.min_scalar_type(self.model.num_classes)
        chunk = self.tile if isinstance(self.tile, int) else min(self.tile)
        made = Output(out, image.shape, dtype, chunk=chunk, image=image, identity="", resume=False)
        with closing(made) as result:
            for window in strips(image.shape):
                result.write(window, most_probable(np.asarray(probabilities[index(window)])))  # type: ignore[index]
            return result.finish()


class PreparedImage(Image):
    """An image whose windows are scaled and have the channels that a model takes; `normalize` does the rest.

    Statistics of the whole image, where they are needed, are added up in a first pass over it.

    Raises:
        InputError: the image has other channels or values than the weights expect.
    """

    def __init__(self, raw: Image, preprocessing: Preprocessing, in_channels: int) -> None:
        self._raw = raw
        self.path = raw.path
        self._preprocessing = preprocessing
        self.shape, self.dtype, self.geometry = raw.shape, raw.dtype, raw.geometry
        self.channels = len(self.read(tuple(slice(0, 1) for _ in self.shape)))
        if self.channels != in_channels:
            raise InputError(f"the image has {self.channels} channels; expected {in_channels}")
        self._statistics: Statistics | None = None
        if preprocessing.needs_statistics:
            found = Statistics()
            for window in strips(self.shape):
                found = found.add(self.read(window))
            self._statistics = found

    def is_held_in(self, array: npt.NDArray[Any]) -> bool:
        """Whether the pixels may lie in the memory of `array`."""
        return self._raw.is_held_in(array)

    def read(self, window: Window | None = None) -> npt.NDArray[np.float32]:
        """The scaled pixels of a window, by default of the whole image; `(C, *size)`."""
        pixels = self._raw.read(window)
        scaled = self._preprocessing.arrange(self._preprocessing.scale(pixels))
        if not np.isfinite(scaled).all():
            raise InputError("the image holds values that are not finite")
        self._preprocessing.check_values(scaled, pixels.dtype)
        return scaled

    def normalize(self, batch: Tensor) -> Tensor:
        """Bring scaled pixels `(N, C, *spatial)` to what the model takes."""
        return self._preprocessing.normalize(batch, self._statistics)


def most_probable(probabilities: npt.NDArray[np.float32]) -> Labels:
    """The class of each pixel `(*spatial)` from `(num_classes, *spatial)`."""
    one = len(probabilities) == 1
    chosen = probabilities[0] > 0.5 if one else probabilities.argmax(0)
    return chosen.astype(np.min_scalar_type(len(probabilities)))
