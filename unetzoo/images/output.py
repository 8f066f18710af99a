"""Predictions that are written window by window, into memory or into a file that appears when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol

import numpy as np

from unetzoo.errors import InputError
from unetzoo.files import locked
from unetzoo.images.image import Image
from unetzoo.images.windows import Window, index

WINDOWED = (".npy", ".tif", ".tiff", ".zarr")


class WritableArray(Protocol):
    """What is written like a numpy array: an array, a memory map, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    def __setitem__(self, key: tuple[slice, ...], value: np.ndarray, /) -> None:
        """Replaces one window."""
        ...


class Output:
    """A prediction in the making: an array, and for a file the note of how far it has come.

    A file is written beside its final name, as `NAME.partial`, and renamed by `finish`. `NAME.partial.json` counts the
    finished steps; with `resume` an interrupted prediction goes on after them.

    Args:
        target: None for memory, an array, memory map or Zarr array of the right shape, or a path that ends in `.npy`,
            `.tif`, `.tiff` or `.zarr`.
        shape: of the whole prediction.
        dtype: of its values, where the array is made here.
        chunk: edge of the chunks of a Zarr array.
        image: whose place on the earth a TIFF takes over.
        identity: identifies the job; a partial file of another job is not resumed.
        resume: go on with a partial file if there is one.

    Raises:
        InputError: an array of another shape, a path of another kind, the image itself, or a partial file of another
            job.
        ConfigError: the path is being written by another.
    """

    def __init__(
        self,
        target: WritableArray | str | PathLike[str] | None,
        shape: Sequence[int],
        dtype: np.dtype,
        *,
        chunk: int,
        image: Image,
        identity: str,
        resume: bool,
    ) -> None:
        self.shape = tuple(shape)
        self.steps = 0
        self._path: Path | None = None
        self._lock = ExitStack()
        if target is None:
            self.array: WritableArray = np.zeros(self.shape, dtype)
        elif isinstance(target, str | PathLike):
            self._path = Path(fspath(target))
            self._identity = identity
            if not is_windowed(self._path):
                raise InputError(f"out is {self._path}; expected a name that ends in .npy, .tif, .tiff or .zarr")
            if image.path is not None and self._path.resolve() == image.path.resolve():
                raise InputError(f"out is {self._path}, the image itself; write elsewhere")
            self._lock.enter_context(locked(self._path))
            try:
                self.array = self._open(dtype, chunk, image, resume)
            except BaseException:
                self.close()
                raise
        elif isinstance(target, np.ndarray) and image.is_held_in(target):
            raise InputError("out is the image itself; write into another array")
        else:
            self.array = target
        if tuple(self.array.shape) != self.shape:
            raise InputError(f"out has shape {tuple(self.array.shape)}; this prediction has {self.shape}")
        if resume and self._path is None:
            raise InputError("resume=True needs a path to write to: an array keeps no note of what is finished")

    def write(self, window: Window, values: np.ndarray) -> None:
        """Replaces the pixels of a window, all channels of it."""
        self.array[index(window, len(self.shape) - len(window))] = values

    def finish_step(self) -> None:
        """Notes that one more step is on disk."""
        self.steps += 1
        if self._path is not None:
            if isinstance(self.array, np.memmap):
                self.array.flush()
            self._note()

    def close(self) -> None:
        """Let others write to the path; a partial file stays, to be resumed."""
        self._lock.close()

    def finish(self) -> WritableArray:
        """Gives the file its name and returns the complete prediction, opened for reading."""
        if self._path is None:
            return self.array
        if isinstance(self.array, np.memmap):
            self.array.flush()
        if self._path.is_dir():
            shutil.rmtree(self._path)
        os.replace(self._partial, self._path)
        self._journal.unlink()
        return _reopen(self._path, self.array)

    @property
    def _partial(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.stem}.partial{self._path.suffix}")

    @property
    def _journal(self) -> Path:
        return self._partial.with_name(f"{self._partial.name}.json")

    def _noted(self) -> int:
        """The finished steps, by the journal of this very job."""
        try:
            note = json.loads(self._journal.read_text(encoding="utf-8"))
            identity, steps = note["identity"], int(note["steps"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{self._journal}: is no journal of a prediction; remove it, or call with resume=False"
            ) from error
        if identity != self._identity:
            raise InputError(
                f"{self._partial} is of another image, model or setting; remove it, or call with resume=False"
            )
        return steps

    def _note(self) -> None:
        fresh = self._journal.with_name(f"{self._journal.name}.tmp")
        fresh.write_text(json.dumps({"identity": self._identity, "steps": self.steps}))
        os.replace(fresh, self._journal)

    def _open(self, dtype: np.dtype, chunk: int, image: Image, resume: bool) -> WritableArray:
        if resume and self._journal.exists() and self._partial.exists():
            self.steps = self._noted()
            return _open_for_writing(self._partial)
        # A kill between this line and the next note leaves a file without a journal, which is not resumed.
        self._journal.unlink(missing_ok=True)
        array = _create(self._partial, self.shape, dtype, chunk, image)
        self._note()
        return array


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype, chunk: int, image: Image) -> WritableArray:
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if path.suffix.lower() == ".zarr":
        import zarr

        spatial = len(image.shape)
        chunks = (*shape[: len(shape) - spatial], *(min(chunk, length) for length in shape[-spatial:]))
        return zarr.open_array(path, mode="w", shape=shape, dtype=dtype, chunks=chunks)
    import tifffile

    planes = {
        "photometric": "minisblack",
        "extratags": list(image.geometry.geo_tags),
        "bigtiff": np.prod(shape) * dtype.itemsize > 2**31,
    }
    if len(shape) > len(image.shape) and shape[0] > 1:
        planes["planarconfig"] = "separate"
    return tifffile.memmap(path, shape=shape, dtype=dtype, **planes)


def _open_for_writing(path: Path) -> WritableArray:
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, mode="r+")
    if path.suffix.lower() == ".zarr":
        import zarr

        return zarr.open_array(path, mode="r+")
    import tifffile

    return tifffile.memmap(path, mode="r+")


def _reopen(path: Path, array: WritableArray) -> WritableArray:
    if path.suffix.lower() == ".zarr":
        import zarr

        return zarr.open_array(path, mode="r")
    return array


def is_windowed(path: Path) -> bool:
    """Whether a file of this name is written window by window."""
    return path.suffix.lower() in WINDOWED
