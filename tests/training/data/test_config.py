"""Configs of data sets: what is refused, with all mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unetzoo.errors import ConfigError
from unetzoo.training.data import DataConfig

PLAIN = {"root": "data", "classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imags": "x"}, "imags: unknown key; did you mean 'images'"),
        ({"preset": "nucleii"}, "no preset 'nucleii'; did you mean 'nuclei'?"),
        ({"classes": ["a"]}, "two classes or more"),
        ({"classes": {"a": [1, 2, 300], "b": [0, 0, 0]}}, "classes.a.2: expected a number of at most 255, got 300"),
        ({"classes": {"a": [1, 2, 3], "b": 3}}, "partly as values, partly as colors"),
        ({"ignore_index": 256}, "ignore_index: "),
        ({"splits": {}}, "names no split"),
        ({"splits": {"train": 0.8, "val": 0.3}}, "sum to 1 at most"),
        ({"splits": {"train": 0.8, "val": "val.txt"}}, "all names of files or folders, or fractions"),
        ({"images": "{split}/x", "masks": "{split}/y"}, "splits that name the folders"),
        ({"images": "{split}/x", "splits": {"train": "t"}}, "all patterns of images and masks hold {split} or none"),
        ({"group": "("}, "is no regular expression"),
        ({"crop": [64, 64, 64]}, "has 3 sizes for 2 axes"),
        ({"crop": 0}, "crop"),
        ({"normalize": {"mean": [0.5], "std": [0.5, 0.5]}}, "as many deviations as means"),
        ({"normalize": {"mean": [0.5], "std": [0.0]}}, "normalize.std.0: expected a number above 0.0, got 0.0"),
        ({"ndim": 3, "classes": {"a": [1, 2, 3], "b": [0, 0, 0]}}, "volumes are read as values"),
        ({"images": []}, "images"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig.parse({**PLAIN, **changes})
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)3 mistakes in data\.yaml.*root: missing.*seed: .*clases: unknown key"):
        DataConfig.parse({"clases": [], "seed": -1, "classes": ["a", "b"]}, "data.yaml")


def test_given_keys_stand_above_those_of_the_preset() -> None:
    config = DataConfig.parse({"preset": "nuclei", "root": "x", "channels": "gray"})
    assert config.channels == "gray"
    assert config.table.names == ("background", "nucleus", "border")


@pytest.mark.parametrize("preset", ["nuclei", "msrc_v2", "camvid", "oxford_pets"])
def test_a_config_survives_being_written_and_read(preset: str) -> None:
    config = DataConfig.parse({"preset": preset, "root": Path("x"), "crop": [64, 96]})
    assert DataConfig.parse(json.loads(config.model_dump_json())) == config


def test_one_number_makes_a_crop_of_equal_sides() -> None:
    assert DataConfig.parse({**PLAIN, "crop": 64}).crop_size == (64, 64)
    assert DataConfig.parse({**PLAIN, "crop": [8, 16, 16], "ndim": 3}).crop_size == (8, 16, 16)
    assert DataConfig.parse(PLAIN).crop_size is None
