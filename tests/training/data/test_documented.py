"""docs/data.md says what the presets say, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from unetzoo.training.augmentation import AugmentationConfig
from unetzoo.training.data import DataConfig, list_presets, preset

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_lists_every_preset_with_owner_license_and_split() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    expected = []
    for name in list_presets():
        described = preset(name)
        way = "fetch" if described.downloads else "by hand"
        expected.append(
            f"| `{name}` | [{described.title}]({described.homepage}) | {described.license} "
            f"| {described.split_source} | {way} |"
        )
    assert rows == expected


def test_the_recipes_are_valid() -> None:
    described, augmented = (yaml.safe_load(block) for block in blocks("yaml"))
    assert DataConfig.parse(described["data"]).crop_size == (256, 256)
    assert AugmentationConfig.model_validate(augmented["augment"]).elastic is not None


def test_the_worked_example_holds() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[-1], names)
    labels = names["labels"]
    # A square of 60 in an image of 100, both shrunk to half.
    assert {value: int((labels == value).sum()) for value in (0, 1, 255)} == {0: 50**2 - 30**2, 1: 30**2, 255: 7500}
