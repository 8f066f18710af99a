"""Metadata of weights: the classes that a model distinguishes, and the provenance of its weights."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]


class Classes(BaseModel):
    """The classes in the order of a model's outputs; one output separates the second of two classes from the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=1)
    colors: tuple[Color, ...] | None = Field(None, description="color of each class; default: distinct hues")
    ignore_index: int | None = Field(None, ge=0, le=255, description="label of pixels without a class")

    @model_validator(mode="before")
    @classmethod
    def _accept_names(cls, value: object) -> object:
        if isinstance(value, int):
            raise ValueError(f"expected the names of the classes; did you mean num_classes={value}?")
        return {"names": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Classes:
        if self.colors is not None and len(self.colors) != len(self.names):
            raise ValueError(f"{len(self.colors)} colors for {len(self.names)} classes")
        return self

    @classmethod
    def numbered(cls, num_classes: int) -> Classes:
        """Classes that are known by their numbers alone."""
        return cls(names=tuple(f"class {number}" for number in range(max(num_classes, 2))))

    def fit(self, num_classes: int) -> bool:
        """Whether a model with this number of outputs can distinguish these classes."""
        return num_classes == len(self.names) or (num_classes, len(self.names)) == (1, 2)

    @property
    def palette(self) -> tuple[Color, ...]:
        """The color that shows each class."""
        return self.colors or tuple(_hue(position) for position in range(len(self.names)))

    def color(self, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Labels (*spatial) as red, green, blue (*spatial, 3); pixels without a class are black."""
        import numpy as np

        table = np.zeros((max(256, len(self.names)), 3), np.uint8)
        table[: len(self.names)] = self.palette
        if self.ignore_index is not None:
            table[self.ignore_index] = 0
        return table[labels]


class Provenance(BaseModel):
    """Where weights come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trained_on: str = Field("", description="the data set and the task")
    weights: str = Field("", description="name of the weights, or the recipe that they were trained by")
    base: str = Field("", description="weights that the training started from")
    library: str = Field("", description="library that trained or published them, with its version")
    date: str = Field("", description="when they were trained or published")
    license: str = Field("", description="license of the weights")
    source: str = Field("", description="address that they were loaded from")


def _hue(position: int) -> Color:
    """Black for the first class, then hues a golden section apart, so that neighbors differ."""
    if position == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb(position * 0.618034 % 1.0, 0.75, 1.0 - 0.35 * (position % 3 == 2))
    return (round(red * 255), round(green * 255), round(blue * 255))
