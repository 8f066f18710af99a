"""`unetzoo data`: what it prints and how it exits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unetzoo.cli import app
from unetzoo.errors import ConfigError
from unetzoo.training.data import DataError, list_presets

NUCLEI = Path(__file__).parents[2] / "examples" / "data" / "nuclei"
run = CliRunner().invoke


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Three of the shipped nuclei, two of them for training."""
    names = (NUCLEI / "train.txt").read_text(encoding="utf-8").split()[:3]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(NUCLEI / folder / f"{name}.png", tmp_path / folder)
    (tmp_path / "train.txt").write_text("\n".join(names[:2]), encoding="utf-8")
    (tmp_path / "val.txt").write_text(names[2], encoding="utf-8")
    return tmp_path


def test_list_shows_every_preset_with_its_terms() -> None:
    rows = json.loads(run(app, ["data", "list", "--json"]).stdout)
    assert [row["name"] for row in rows] == list_presets()
    assert {row["name"]: row["license"] for row in rows}["mvtec_ad"] == "CC BY-NC-SA 4.0"
    table = run(app, ["data", "list"])
    assert table.exit_code == 0
    assert "nuclei" in table.stdout


def test_check_counts_the_images_and_tells_the_share_of_each_class(few: Path) -> None:
    done = run(app, ["data", "check", str(few), "--preset", "nuclei", "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert {split: row["images"] for split, row in told.items()} == {"train": 2, "val": 1}
    assert list(told["train"]["shares"]) == ["background", "nucleus", "border", "void"]
    assert sum(told["train"]["shares"].values()) == pytest.approx(1)
    assert 0 < told["val"]["shares"]["nucleus"] < 0.5


def test_check_reads_a_config_or_the_data_of_a_recipe_with_paths_from_its_own_folder(few: Path) -> None:
    (few / "data.yaml").write_text("root: .\nclasses: [background, nucleus, border]\n", encoding="utf-8")
    (few / "recipe.yaml").write_text("model: unet\ndata: {preset: nuclei, root: .}\n", encoding="utf-8")
    for name in ("data.yaml", "recipe.yaml"):
        done = run(app, ["data", "check", str(few / name)])
        assert done.exit_code == 0, done.exception
        assert "nucleus" in done.stdout


def test_check_names_a_broken_file(few: Path) -> None:
    broken = next((few / "images").iterdir())
    broken.write_bytes(b"no image")
    done = run(app, ["data", "check", str(few), "--preset", "nuclei"])
    assert isinstance(done.exception, DataError)
    assert str(broken) in str(done.exception)


def test_check_of_a_folder_alone_asks_for_what_describes_it(few: Path) -> None:
    done = run(app, ["data", "check", str(few)])
    assert isinstance(done.exception, ConfigError)
    assert "--preset" in str(done.exception)


def test_fetch_shows_the_terms_and_downloads_nothing_unless_they_are_accepted(tmp_path: Path) -> None:
    done = run(app, ["data", "fetch", "msrc_v2", "--to", str(tmp_path / "new")], input="n\n")
    assert done.exit_code == 1
    assert "non-commercial" in done.stdout
    assert not (tmp_path / "new").exists()


def test_fetch_of_what_cannot_be_fetched_shows_terms_and_the_way(tmp_path: Path) -> None:
    done = run(app, ["data", "fetch", "mvtec_ad", "--to", str(tmp_path / "new")])
    assert "CC BY-NC-SA 4.0" in done.stdout
    assert isinstance(done.exception, ConfigError)
    assert "fill in the form" in str(done.exception)


def test_prepare_is_for_presets_that_need_it(tmp_path: Path) -> None:
    done = run(app, ["data", "prepare", "carvana", str(tmp_path), "--to", str(tmp_path / "out")])
    assert isinstance(done.exception, ConfigError)
    assert "needs no preparation" in str(done.exception)
