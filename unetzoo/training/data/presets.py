"""Presets: public data sets with their layout, classes, split, owner's address and terms, one YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unetzoo.errors import ConfigError, UnknownNameError, nearest
from unetzoo.yamlfile import read_yaml

FOLDER = Path(str(files("unetzoo.training.data") / "presets"))


class Download(BaseModel):
    """A file that the owner of a data set publishes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    folder: str = Field("", description="folder that the archive is unpacked into, under the data set's")
    sha256: str | None = None
    md5: str | None = Field(None, description="where the owner publishes no better hash")


class Preset(BaseModel):
    """A public data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    homepage: str = Field(description="the owner's page")
    cite: str
    license: str = Field(description="the license's name, or in short what the terms allow")
    terms: str = Field(description="what must be known before the data is used")
    downloads: list[Download] = Field([], description="what `fetch` gets; empty where only the owner hands it out")
    by_hand: str | None = Field(None, description="how to get it where `fetch` cannot")
    prepare: Literal["slices", "oct_layers"] | None = Field(None, description="what the download needs to be read")
    split_source: str = Field(description="where the split is from")
    data: dict[str, object] = Field(description="keys of a `DataConfig`")


@cache
def _paths() -> Mapping[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def list_presets() -> list[str]:
    """The names of the presets."""
    return list(_paths())


@cache
def preset(name: str) -> Preset:
    """The preset of this name; raises `UnknownNameError` for another."""
    if name not in _paths():
        raise UnknownNameError(f"no preset {name!r}{nearest(name, _paths())} (presets: {', '.join(_paths())})")
    content, _ = read_yaml(_paths()[name])
    try:
        return Preset.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{_paths()[name]}: {error}") from error


def preset_data(name: str) -> dict[str, object]:
    """The keys of a `DataConfig` that the preset of this name sets."""
    return dict(preset(name).data)
