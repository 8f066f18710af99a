"""Recipes are read with every mistake named by file, line and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import unetzoo
from unetzoo.cli.options import parse_overrides
from unetzoo.errors import ConfigError
from unetzoo.training.losses import make_loss
from unetzoo.training.recipe import Recipe, read_recipe, recipe_text

RECIPES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.yaml"))
DATA = "data: {root: nuclei, classes: [rest, nucleus]}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_that_are_shipped_can_be_read_and_name_what_exists(path: Path) -> None:
    recipe = read_recipe(path, {"data": {"root": "."}})
    assert unetzoo.info(recipe.model.name).name == recipe.model.name
    assert make_loss(recipe.loss, num_classes=recipe.model.options.get("num_classes", len(recipe.data.table)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epoch: 3", r"mine\.yaml:3: epoch: unknown key; did you mean 'epochs'\?"),
        ("data: {crops: 3}", "duplicate key 'data'"),
        ("augment:\n  affin: {degrees: 3}", r"mine\.yaml:4: augment\.affin: unknown key; did you mean 'affine'\?"),
        ("optimizer: {name: sgd, betas: [0, 1]}", r"mine\.yaml:3: optimizer\.betas: unknown key"),
        ("schedule: {name: cosine, warmpu: 1}", r"schedule\.warmpu: unknown key; did you mean 'warmup'\?"),
        ("schedule: {name: cosin}", r"mine\.yaml:3: schedule: .*, got 'cosin'; did you mean 'cosine'"),
        ("epochs: 0", r"mine\.yaml:3: epochs: expected a number of at least 1, got 0"),
        ("epochs: 3\nschedule: {warmup: 3}", "warm-up of 3 epochs leaves none of the 3 epochs"),
        ("loss: {dice: much}", r"mine\.yaml:3: loss"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_the_nearest_spelling(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe(write(tmp_path, f"model: unet\n{DATA}{line}\n"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)3 mistakes.*:3: epochs.*:4: rates\.encodr.*:1: modle"):
        read_recipe(write(tmp_path, f"modle: unet\n{DATA}epochs: none\nrates: {{encodr: 1}}\nmodel: unet\n"))


def test_keys_that_are_set_change_what_the_file_says_and_are_named_as_such(tmp_path: Path) -> None:
    path = write(tmp_path, f"model: {{name: unet, init: kaiming}}\n{DATA}optimizer: {{name: sgd, momentum: 0.5}}\n")
    recipe = read_recipe(path, parse_overrides(["optimizer.lr=0.3", "model.center=identity", "data.limit=4"]))
    assert recipe.optimizer.model_dump() == {
        "name": "sgd", "lr": 0.3, "weight_decay": 1e-4, "momentum": 0.5, "nesterov": False
    }  # fmt: skip
    assert recipe.model.options == {"init": "kaiming", "center": "identity"}
    assert recipe.data.limit == 4
    with pytest.raises(ConfigError, match="--set: epoch: unknown key"):
        read_recipe(path, {"epoch": 1})
    # Another optimizer does not inherit the options of the one in the file.
    assert read_recipe(path, {"optimizer": {"name": "adamw"}}).optimizer.name == "adamw"


def test_another_network_keeps_the_options_of_the_files_unless_the_whole_is_set(tmp_path: Path) -> None:
    path = write(tmp_path, DATA + "model: {name: dlinknet34, num_classes: 1}\n")
    renamed = read_recipe(path, parse_overrides(["model.name=linknet34"])).model
    assert (renamed.name, renamed.options) == ("linknet34", {"num_classes": 1})
    replaced = read_recipe(path, parse_overrides(["model=linknet34"])).model
    assert (replaced.name, replaced.options) == ("linknet34", {})


def test_paths_are_relative_to_the_recipe_and_a_written_recipe_reads_as_the_same(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = read_recipe(write(tmp_path, f"model: {{name: ../nets/small.yaml}}\n{DATA}"))
    assert recipe.data.root == tmp_path / "nuclei"
    assert recipe.model.name == str(tmp_path.parent / "nets" / "small.yaml")
    (tmp_path / "elsewhere").mkdir()
    assert read_recipe(write(tmp_path / "elsewhere", recipe_text(recipe))) == recipe
    whole = read_recipe(nuclei_recipe(ema=0.5, schedule={"name": "poly", "power": 2.0}, augment={"flip": ["width"]}))
    assert read_recipe(write(tmp_path, recipe_text(whole))) == whole


def test_the_documented_recipe_can_be_read_and_shows_every_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    recipe = write(tmp_path, text.split("```yaml\n")[1].split("```")[0])
    assert read_recipe(recipe).epochs == 24
    assert list(yaml.safe_load(recipe.read_text(encoding="utf-8"))) == list(Recipe.model_fields)
