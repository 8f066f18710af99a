"""The classes of a data set: their names, how its masks write them, and the colors that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from unetzoo.applied import Classes, Color
from unetzoo.training.data.errors import DataError

Code = int | Color
"""How a mask writes a class: the value of its pixels, or their color as red, green, blue."""

Labels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.generic]

_NAMED = 5


@dataclass(frozen=True)
class ClassTable:
    """The classes in the order of a network's outputs.

    Args:
        names: one name a class.
        codes: for each class, the codes that stand for it in the masks: all values, or all colors.
        void: codes of the pixels that have no class; they become `ignore_index`.
        ignore_index: label of pixels without a class, 0 to 255; as a value in a mask it means the same.
        stray: largest part of a mask's pixels whose code may be unknown; they become void.
        threshold: for two classes, the gray value from which on a pixel is of the second; replaces the codes.
        shown: the colors that show the classes; by default their codes where these are colors, else made up.
    """

    names: tuple[str, ...]
    codes: tuple[tuple[Code, ...], ...]
    void: tuple[Code, ...] = ()
    ignore_index: int = 255
    threshold: int | None = None
    stray: float = 0.0
    shown: tuple[Color, ...] | None = None

    @classmethod
    def make(
        cls,
        classes: Sequence[str] | Mapping[str, Code | Sequence[Code]],
        *,
        void: Sequence[Code] = (),
        ignore_index: int = 255,
        threshold: int | None = None,
        stray: float = 0.0,
        colors: Sequence[Color] | None = None,
    ) -> ClassTable:
        """A table from the names alone, their positions being the codes, or from names with their codes.

        Raises `ValueError` for a table that contradicts itself.
        """
        if isinstance(classes, Mapping):
            codes = tuple(_several(code) for code in classes.values())
        else:
            codes = tuple((position,) for position in range(len(classes)))
        shown = None if colors is None else tuple(colors)
        table = cls(tuple(classes), codes, tuple(void), ignore_index, threshold, stray, shown)
        table._check()
        return table

    def __len__(self) -> int:
        return len(self.names)

    @property
    def in_color(self) -> bool:
        """Whether masks are read as colors rather than as values."""
        return self.threshold is None and any(isinstance(code, tuple) for codes in self.codes for code in codes)

    @cached_property
    def classes(self) -> Classes:
        """Names, colors and void of the classes: what a model that learns them keeps."""
        coded = tuple(code for codes in self.codes for code in codes[:1] if isinstance(code, tuple))
        shown = self.shown if self.shown is not None else coded if self.in_color else None
        return Classes(names=self.names, colors=shown, ignore_index=self.ignore_index)

    def encode(self, mask: Array, path: object) -> Labels:
        """The labels of a mask: values of any shape, or colors (H, W, 3), as indices of the table.

        Raises `DataError` that names `path` with every code outside the table and its count of pixels.
        """
        if self.threshold is not None:
            return np.greater_equal(mask, self.threshold).astype(np.uint8)
        packed = _pack(mask) if self.in_color else mask.astype(np.int64)
        known, labels = self._lookup
        places = np.searchsorted(known, packed).clip(max=len(known) - 1)
        strange = known[places] != packed
        if strange.sum() > self.stray * strange.size:
            raise DataError(f"{path}: {self._describe(packed[strange])}")
        return np.where(strange, np.uint8(self.ignore_index), labels[places])

    @cached_property
    def _lookup(self) -> tuple[npt.NDArray[np.int64], Labels]:
        rows = [(code, label) for label, codes in enumerate(self.codes) for code in codes]
        rows += [(code, self.ignore_index) for code in self.void]
        if not self.in_color:
            rows.append((self.ignore_index, self.ignore_index))
        packed = {int(_pack(np.array(code))) if isinstance(code, tuple) else code: label for code, label in rows}
        known = sorted(packed)
        return np.array(known, np.int64), np.array([packed[code] for code in known], np.uint8)

    def _describe(self, strange: npt.NDArray[np.int64]) -> str:
        values, counts = np.unique(strange, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        named = ", ".join(f"{self._unpack(int(values[i]))} ({counts[i]})" for i in order[:_NAMED])
        more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
        pixels = f"{strange.size} pixel{'s' if strange.size > 1 else ''} of"
        if self.in_color:
            return f"{pixels} colors outside the class table: {named}{more}"
        expected = ", ".join(str(code) for codes in self.codes for code in codes)
        void = ", ".join(str(code) for code in dict.fromkeys((*self.void, self.ignore_index)))
        return f"{pixels} values outside the class table: {named}{more}; expected {expected}, or {void} for void"

    def _unpack(self, code: int) -> Code:
        return (code >> 16, code >> 8 & 255, code & 255) if self.in_color else code

    def _check(self) -> None:
        if len(self.names) < 2:
            raise ValueError(f"a table needs two classes or more, got {list(self.names)}; name the background too")
        if len(self) > self.ignore_index:
            raise ValueError(f"{len(self)} classes leave no room for ignore_index {self.ignore_index}")
        if len(set(self.names)) < len(self):
            raise ValueError(f"two classes of one name: {list(self.names)}")
        if self.threshold is not None and len(self) != 2:
            raise ValueError(f"a threshold makes two classes, got {len(self)}")
        if self.shown is not None and len(self.shown) != len(self):
            raise ValueError(f"{len(self.shown)} colors for {len(self)} classes")
        codes = [code for several in (*self.codes, self.void) for code in several]
        if len({isinstance(code, tuple) for code in codes}) > 1:
            raise ValueError("classes and void are given partly as values, partly as colors")
        doubled = sorted({str(code) for code in codes if codes.count(code) > 1})
        if doubled:
            raise ValueError(f"several classes, or void, claim {', '.join(doubled)}")


def _several(code: Code | Sequence[Code]) -> tuple[Code, ...]:
    if isinstance(code, int):
        return (code,)
    if isinstance(code, tuple) and all(isinstance(part, int) for part in code):
        return (code,)
    return tuple(code)


def _pack(colors: Array) -> npt.NDArray[np.int64]:
    return colors[..., :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
