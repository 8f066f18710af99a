"""Prediction of images and volumes of any size, tile by tile in bounded memory."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import PathLike
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unetzoo.errors import ConfigError
from unetzoo.images.image import ArrayLike, Channels, Image
from unetzoo.images.opening import open_image
from unetzoo.images.output import Output, WritableArray
from unetzoo.images.windows import Window, index
from unetzoo.inference.plan.exact import ExactPlan
from unetzoo.inference.plan.geometry import Tile
from unetzoo.inference.planning import plan_exact, plan_for
from unetzoo.inference.run.exact import ExactRunner
from unetzoo.inference.run.tta import TestTimeAugmentation
from unetzoo.inference.run.whole import WholeRunner
from unetzoo.inference.run.windows import BlendRunner, MirrorRunner, fitting_tile
from unetzoo.nn.dims import round_up
from unetzoo.nn.evaluation import empty_like_parameters, evaluating

Mode = Literal["exact", "mirror", "blend"]
Kind = Literal["logits", "probabilities", "labels"]
TileProgress = Callable[[int, int], None]
DEFAULT_TILE = {2: 1024, 3: 160}
COMMON_STRIDE = 32
SAMPLE = 16  # pixels along each axis, of the windows by which an image is known again


class Runner(Protocol):
    """One way to cut an image and to run a network on the parts."""

    steps: int
    total: int

    def run(self, done: int, tick: Callable[[], None]) -> Iterator[list[tuple[Window, Tensor]]]:
        """Yields step by step the finished windows and their logits."""
        ...


def predict_tiled(
    model: nn.Module,
    image: np.ndarray | Tensor | ArrayLike | Image | str | PathLike[str],
    *,
    mode: Mode = "exact",
    tile: int | Sequence[int] | None = None,
    halo: int | Sequence[int] | None = None,
    overlap: float = 0.5,
    split: int | Sequence[int] | None = None,
    plan: ExactPlan | None = None,
    mirror_ends: bool = False,
    batch_size: int = 1,
    channels: Channels | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    tta: TestTimeAugmentation | None = None,
    output: Kind = "logits",
    out: WritableArray | str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | TileProgress = False,
) -> WritableArray:
    """Runs a model on an image or volume of any size and returns the whole prediction.

    Modes:

    - `exact` gives what `model(image)` gives, to rounding. A network that sees a little of its surroundings is run on
      tiles with a halo as wide as that, which is measured. One that sees far, as every deep encoder does, is run in
      stages: its fine maps on tiles, its coarse ones, a small part of the memory, on the whole image. An image that
      fits one tile is given to the model as it is, unless `plan` or `split` says otherwise. Refused where no tiling
      is exact: normalization by the image's own statistics, or attention over fine maps. So are sizes off the model's
      stride where what the model does there depends on the whole size, unless `mirror_ends` is set.
    - `mirror` is the overlap-tile strategy of the U-Net paper: the image is mirrored at its borders, and the part of
      each tile further than `halo` from its edge is kept. The mode for networks of unpadded convolutions.
    - `blend` averages overlapping windows with Gaussian weights. Works with any model; approximate.

    Args:
        model: `(N, C, *spatial)` to logits; it is run in evaluation mode, on its device, and left as it was.
        image: one image, read in windows: an array, tensor, memory map or Zarr array `(C, *spatial)`, or the path of a
            `.tif`, `.npy` or `.zarr`.
        mode: see above.
        tile: tile size in pixels along each axis; default: 1024 for images and 160 for volumes.
        halo: for `mirror`; a quarter of the tile, or the margin of an unpadded network.
        overlap: for `blend`; overlap of neighboring windows, as a fraction.
        split: for `exact`; the stride from which maps are computed on the whole image, 0 for none. A larger one takes
            less memory and more time. So do several, such as `(16, 32)`: maps between them are computed on larger
            tiles, and only those beyond the last on the whole image. Default: chosen by measurement.
        plan: for `exact`; what `plan_exact` found for this model and a tile no larger, to measure once for many images.
        mirror_ends: for `exact`; extend an image whose size is no multiple of the model's stride by its mirror image up
            to one. The result is that of the extended image, cropped: near those ends it differs from `model(image)`.
        batch_size: tiles in one run.
        channels: where the image's channel axis is; see `open_image`.
        prepare: turns a float32 tile `(N, C, *spatial)` on the model's device into what the model takes, pixel by
            pixel.
        tta: augmentation around the same model; not for `exact` in stages.
        output: `logits` and `probabilities` are float32 `(num_classes, *spatial)`; `labels` are `(*spatial)`.
        out: where to write: an array, or a path that ends in `.npy`, `.tif` (with the place on the earth of a GeoTIFF
            image) or `.zarr`. The file appears when it is complete.
        resume: go on where an interrupted run that wrote to the same path stopped.
        progress: show a bar, or call with the batches done and their number.

    Returns:
        `out`, opened, or a new array.

    Raises:
        InputError: an image, array or path that does not fit.
        ConfigError: the mode is not possible for this model, and why.
    """
    network = model if tta is None else tta
    ndim = _ndim(model)
    picture = open_image(image, ndim=ndim, channels=channels)
    edges = _per_axis(DEFAULT_TILE[ndim] if tile is None else tile, ndim, "tile")
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected 1 or more")
    if tta is not None and tta.network is not model:
        raise ConfigError("tta is around another network than model; expected TestTimeAugmentation(model, ...)")
    read = _Reader(picture, empty_like_parameters(model), prepare)
    with evaluating(network):
        if mode == "exact":
            runner, num_classes = _exact(model, network, read, edges, split, plan, mirror_ends, batch_size)
        elif mode == "mirror":
            runner, num_classes = _mirror(network, read, edges, halo, batch_size)
        elif mode == "blend":
            edges = fitting_tile(edges, picture.shape, COMMON_STRIDE)
            num_classes = _probe(network, read, edges).shape[1]
            runner = BlendRunner(network, read, picture.shape, edges, overlap, batch_size)
        else:
            raise ConfigError(f"mode is {mode!r}; expected 'exact', 'mirror' or 'blend'")
        finish, dtype = _finisher(output, num_classes)
        is_path = isinstance(out, str | PathLike)
        settings = [mode, edges, halo, overlap, runner.steps, output, split, mirror_ends, _told(tta), _told(plan)]
        made = Output(
            out,
            picture.shape if output == "labels" else (num_classes, *picture.shape),
            dtype,
            chunk=min(edges),
            image=picture,
            identity=_identity(model, read, settings) if is_path else "",
            resume=resume,
        )
        with closing(made) as result, _reporting(progress, runner.total) as tick:
            for pieces in runner.run(result.steps, tick):
                for window, logits in pieces:
                    inside = tuple(slice(p.start, min(p.stop, n)) for p, n in zip(window, picture.shape, strict=True))
                    if all(part.start < part.stop for part in inside):
                        cut = tuple(slice(0, part.stop - part.start) for part in inside)
                        result.write(inside, finish(logits[index(cut)]).cpu().numpy().astype(dtype, copy=False))
                result.finish_step()
            return result.finish()


class _Reader:
    """Reads tiles of an image as the batch that the network gets; beyond the image's border as its mirror image."""

    def __init__(self, image: Image, like: Tensor, prepare: Callable[[Tensor], Tensor] | None) -> None:
        self.image = image
        self.like = like
        self.prepare = prepare

    def __call__(self, tiles: Sequence[Tile]) -> Tensor:
        pixels = np.stack([self.image.read_mirrored(tile.seen) for tile in tiles])
        batch = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).to(self.like.device)
        return (batch if self.prepare is None else self.prepare(batch)).to(self.like.dtype)


def _exact(
    model: nn.Module,
    network: nn.Module,
    read: _Reader,
    tile: Sequence[int],
    split: int | Sequence[int] | None,
    plan: ExactPlan | None,
    mirror_ends: bool,
    batch_size: int,
) -> tuple[Runner, int]:
    if plan is None and split is None and all(n <= edge for n, edge in zip(read.image.shape, tile, strict=True)):
        whole = WholeRunner(network, read, read.image.shape)
        return whole, len(whole.logits)
    in_channels, shape = _in_channels(read), tuple(read.image.shape)
    if plan is not None and split is not None:
        raise ConfigError("split and plan were both given; a plan has its splits")
    if plan is None:
        splits = ((split,) if split else ()) if isinstance(split, int) else split
        plan = plan_exact(model, in_channels, tile, splits=splits, size=None if mirror_ends else shape)
    if plan.stages and network is not model:
        raise ConfigError("test-time augmentation is not exact in stages, which this model needs; use mode='blend'")
    if mirror_ends:
        shape = tuple(round_up(length, a) for length, a in zip(shape, plan.recording.align, strict=True))
    num_classes = plan.recording.operations[plan.recording.output].shapes[0][1]
    plan = plan_for(model, plan, tile, shape)
    return ExactRunner(network, plan, read, shape, tile, batch_size), num_classes


def _mirror(
    network: nn.Module, read: _Reader, tile: Sequence[int], halo: int | Sequence[int] | None, batch_size: int
) -> tuple[Runner, int]:
    logits = _probe(network, read, tile)
    lost = [seen - got for seen, got in zip(tile, logits.shape[2:], strict=True)]
    if any(pixels < 0 or pixels % 2 for pixels in lost):
        raise ConfigError(f"the network makes {tuple(logits.shape[2:])} of {tuple(tile)} pixels; use another tile")
    default = [pixels // 2 if pixels else edge // 4 for pixels, edge in zip(lost, tile, strict=True)]
    margins = default if halo is None else _per_axis(halo, len(tile), "halo")
    if any(2 * margin < pixels for margin, pixels in zip(margins, lost, strict=True)):
        raise ConfigError(
            f"halo is {tuple(margins)}; the network's unpadded convolutions need {tuple(default)} or more"
        )
    return MirrorRunner(network, read, read.image.shape, tile, margins, COMMON_STRIDE // 2, batch_size), logits.shape[1]


def _probe(network: nn.Module, read: _Reader, tile: Sequence[int]) -> Tensor:
    """The network's output for one empty tile."""
    with torch.inference_mode():
        logits = network(read.like.new_zeros(1, _in_channels(read), *tile))
    if not isinstance(logits, Tensor) or logits.ndim != len(tile) + 2:
        raise ConfigError("the network returned no tensor of logits (N, C, *spatial)")
    return logits


def _in_channels(read: _Reader) -> int:
    pixel = tuple(slice(0, 1) for _ in read.image.shape)
    return read([Tile(pixel, pixel)]).shape[1]


def _ndim(model: nn.Module) -> int:
    declared = getattr(model, "ndim", None)
    if isinstance(declared, int):
        return declared
    return 3 if any(isinstance(module, nn.Conv3d) for module in model.modules()) else 2


def _per_axis(value: int | Sequence[int], ndim: int, name: str) -> tuple[int, ...]:
    values = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(values) != ndim or min(values) < 0 or (name == "tile" and min(values) == 0):
        raise ConfigError(f"{name} is {value}; expected one number of pixels, or {ndim} of them")
    return values


def _finisher(kind: Kind, num_classes: int) -> tuple[Callable[[Tensor], Tensor], np.dtype]:
    """What turns logits `(C, *spatial)` into the output, and the type of its values."""
    if kind == "logits":
        return (lambda logits: logits.float()), np.dtype(np.float32)
    if kind == "probabilities":
        return (lambda x: x.float().sigmoid() if num_classes == 1 else x.float().softmax(0)), np.dtype(np.float32)
    if kind == "labels":
        return (lambda x: x[0] > 0 if num_classes == 1 else x.argmax(0)), np.dtype(np.min_scalar_type(num_classes))
    raise ConfigError(f"output is {kind!r}; expected 'logits', 'probabilities' or 'labels'")


def _told(setting: TestTimeAugmentation | ExactPlan | None) -> object:
    """What decides the result of an augmentation or a plan, as plain data."""
    if isinstance(setting, TestTimeAugmentation):
        return [setting.symmetries, setting.scales, setting.average]
    return None if setting is None else [setting.halos, setting.splits]


def _identity(model: nn.Module, read: _Reader, settings: list[object]) -> str:
    """A digest of the weights, the image as the model gets it and the settings.

    Of the image it holds the form, for a file its size and time, and prepared pixels from its ends and its middle.
    """
    image = read.image
    file = None if image.path is None else [image.path.stat().st_size, image.path.stat().st_mtime_ns]
    digest = hashlib.sha256(json.dumps([image.shape, image.channels, file, settings]).encode())
    starts = [sorted({0, max(0, n // 2 - SAMPLE // 2), max(0, n - SAMPLE)}) for n in image.shape]
    for corner in itertools.product(*starts):
        window = tuple(slice(at, min(at + SAMPLE, n)) for at, n in zip(corner, image.shape, strict=True))
        digest.update(read([Tile(window, window)]).float().cpu().contiguous().numpy().tobytes())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _reporting(progress: bool | TileProgress, total: int) -> Iterator[Callable[[], None]]:
    """What the runner calls after every batch."""
    if progress is True:
        from rich.progress import Progress as Bar

        with Bar() as bar:
            task = bar.add_task("Predicting", total=total)
            yield lambda: bar.advance(task)
    elif callable(progress):
        numbers = itertools.count(1)
        yield lambda: progress(next(numbers), total)
    else:
        yield lambda: None
