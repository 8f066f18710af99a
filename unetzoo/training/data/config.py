"""What a data set is: where its files lie, how its masks are read, and how it is split; read from a recipe's `data`."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from unetzoo.applied import Color
from unetzoo.components.mistakes import collected, mistakes_in
from unetzoo.errors import UnknownNameError
from unetzoo.preprocessing import Preprocessing
from unetzoo.training.data.classes import ClassTable
from unetzoo.training.data.presets import preset_data


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], Field(min_length=1), BeforeValidator(_as_list)]
Codes = int | Color | list[Color]


class MeanStd(BaseModel):
    """The mean and standard deviation of each channel, of images in 0 to 1 (of volumes: in their own units)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: list[float] = Field(min_length=1)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)


class DataConfig(BaseModel):
    """A data set: the keys of a preset, if one is named, with the keys that are given on top.

    A pattern such as `images/{name}.png` finds files under `root`; `.*` stands for every suffix that is read, a pattern
    without `{name}` is a folder, and of several patterns the first that finds a file counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = Field(None, description="name of a preset: `unetzoo data list`")
    root: Path = Field(description="folder of the data set")
    images: Patterns = Field(["images"], description="pattern of the images, or several")
    masks: Patterns = Field(["masks"], description="pattern of the masks, or several")
    unmasked: str | None = Field(
        None, description="shell pattern of the names that have no mask since all is first class"
    )
    classes: dict[str, Codes] | list[str] = Field(
        description="names, each mask value being a position in them; or names with their value, color or colors"
    )
    void: list[Color] | list[int] = Field([], description="values or colors of the masks that belong to no class")
    threshold: int | None = Field(None, description="for two classes: gray value from which on a pixel is the second")
    stray: float = Field(
        0.0, ge=0, lt=1, description="largest part of a mask whose values or colors may be unknown, and become void"
    )
    ignore_index: int = Field(255, ge=0, le=255, description="label of pixels that belong to no class")
    colors: list[Color] | None = Field(None, description="colors to show the classes in")
    splits: dict[str, str | float] | None = Field(
        None,
        description="for each split, a file that lists its names, a fraction of all images, or the folder that "
        "{split} stands for in patterns; by default train.txt, val.txt and test.txt, or 0.8 and 0.2 without them",
    )
    seed: int = Field(0, ge=0, description="draws the images of a split by fractions")
    group: str | None = Field(None, description="regular expression of the part of a name whose images stay together")
    limit: int | None = Field(None, ge=1, description="use only the first images of each split")
    ndim: Literal[2, 3] = 2
    channels: Literal["gray", "rgb"] | None = Field(None, description="turn images into these; else as in the files")
    normalize: Literal["image", "imagenet", "none"] | MeanStd = Field(
        "image", description="zero mean and unit deviation of each image, those of ImageNet, none, or given ones"
    )
    crop: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="size of the training crops; by default whole images"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_from_preset(cls, value: object) -> object:
        if not isinstance(value, dict) or not isinstance(value.get("preset"), str):
            return value
        try:
            return {**preset_data(value["preset"]), **value}
        except UnknownNameError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _check_together(self) -> DataConfig:
        if isinstance(self.crop, list) and len(self.crop) != self.ndim:
            raise ValueError(f"crop {self.crop} has {len(self.crop)} sizes for {self.ndim} axes")
        if isinstance(self.normalize, MeanStd) and len(self.normalize.mean) != len(self.normalize.std):
            raise ValueError("normalize needs as many deviations as means")
        if self.splits is not None:
            _check_splits(self.splits)
        if self.in_folders and not all(isinstance(part, str) for part in (self.splits or {"": 0.0}).values()):
            raise ValueError("patterns with {split} need splits that name the folders, as {train: train, val: valid}")
        if self.in_folders and not all("{split}" in pattern for pattern in (*self.images, *self.masks)):
            raise ValueError("either all patterns of images and masks hold {split} or none")
        if self.group is not None:
            _check_regular_expression(self.group)
        if self.table.in_color and self.ndim == 3:
            raise ValueError("masks of volumes are read as values, not as colors")
        return self

    @property
    def in_folders(self) -> bool:
        """Whether each split has its own folders."""
        return any("{split}" in pattern for pattern in (*self.images, *self.masks))

    @cached_property
    def table(self) -> ClassTable:
        """The class table."""
        return ClassTable.make(
            self.classes,
            void=self.void,
            ignore_index=self.ignore_index,
            threshold=self.threshold,
            stray=self.stray,
            colors=self.colors,
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """What images are put through; volumes are not scaled."""
        if not isinstance(self.normalize, MeanStd):
            return Preprocessing.named(self.normalize, ndim=self.ndim, channels=self.channels)
        plain = Preprocessing.named("none", ndim=self.ndim, channels=self.channels)
        return plain.model_copy(update={"mean": tuple(self.normalize.mean), "std": tuple(self.normalize.std)})

    @property
    def crop_size(self) -> tuple[int, ...] | None:
        """The size of the training crops, for each axis."""
        if self.crop is None:
            return None
        return (self.crop,) * self.ndim if isinstance(self.crop, int) else tuple(self.crop)

    @classmethod
    def parse(cls, data: dict[str, object], origin: str = "data") -> DataConfig:
        """The config of plain data; raises `ConfigError` that lists all mistakes."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise collected(origin, mistakes_in(error, cls, data)) from error


def _check_splits(splits: dict[str, str | float]) -> None:
    if not splits:
        raise ValueError("splits names no split; leave it out for the default")
    fractions = [part for part in splits.values() if not isinstance(part, str)]
    if fractions and (len(fractions) < len(splits) or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9):
        raise ValueError(f"splits are all names of files or folders, or fractions that sum to 1 at most, got {splits}")


def _check_regular_expression(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group {pattern!r} is no regular expression: {error}") from error
