"""Fetching: whole and checked, or not at all; from addresses that are files here."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.training.data.conftest import Write
from unetzoo.errors import ConfigError
from unetzoo.training.data import DataConfig, DataError, load_data
from unetzoo.training.data import fetch as fetching
from unetzoo.training.data.fetch import fetch
from unetzoo.training.data.presets import Download, Preset, preset


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch):
    """Replaces the downloads of a preset."""

    def replace(name: str, *downloads: Download) -> None:
        described = preset(name).model_copy(update={"downloads": list(downloads)})
        real = preset

        def find(asked: str) -> Preset:
            return described if asked == name else real(asked)

        monkeypatch.setattr(fetching, "preset", find)

    return replace


@pytest.fixture
def pets(tmp_path: Path, write: Write) -> tuple[Path, Path]:
    """The two archives of the pets, with an image for training and one for testing."""
    for number in (1, 2):
        write(f"a/images/pet_{number}.jpg", np.zeros((2, 3, 3), np.uint8))
        write(f"b/annotations/trimaps/pet_{number}.png", np.array([[1, 2, 3]] * 2, np.uint8))
    (tmp_path / "b" / "annotations" / "trainval.txt").write_text("pet_1 1 1 1\n", encoding="utf-8")
    (tmp_path / "b" / "annotations" / "test.txt").write_text("pet_2 1 1 1\n", encoding="utf-8")
    images = shutil.make_archive(str(tmp_path / "images"), "gztar", tmp_path / "a")
    annotations = shutil.make_archive(str(tmp_path / "annotations"), "zip", tmp_path / "b")
    return Path(images), Path(annotations)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_archives_are_unpacked_into_a_folder_that_the_preset_reads(tmp_path: Path, publish, pets) -> None:
    images, annotations = pets
    digest = hashlib.sha256(images.read_bytes()).hexdigest()
    md5 = hashlib.md5(annotations.read_bytes()).hexdigest()
    publish("oxford_pets", Download(url=images.as_uri(), sha256=digest), Download(url=annotations.as_uri(), md5=md5))
    lines: list[str] = []
    folder = fetch("oxford_pets", tmp_path / "new" / "pets", lines.append)
    assert left(folder.parent) == ["pets"]
    assert left(folder) == ["annotations", "images"]
    assert lines[0] == f"downloading {images.as_uri()}"
    data = load_data(DataConfig.parse({"preset": "oxford_pets", "root": folder}))
    assert len(data.splits["train"]) == len(data.splits["test"]) == 1


def test_a_wrong_hash_leaves_nothing_behind(tmp_path: Path, publish, pets) -> None:
    images, annotations = pets
    publish("oxford_pets", Download(url=images.as_uri()), Download(url=annotations.as_uri(), sha256="0" * 64))
    with pytest.raises(DataError, match=rf"annotations\.zip: the sha256 is [0-9a-f]{{64}}; expected {'0' * 64}"):
        fetch("oxford_pets", tmp_path / "new" / "pets")
    assert left(tmp_path / "new") == []


def test_without_the_network_the_error_tells_the_address_and_another_way(tmp_path: Path, publish) -> None:
    publish("msrc_v2", Download(url="http://nowhere.invalid/msrc.zip"))
    with pytest.raises(
        DataError, match=r"(?s)nowhere\.invalid/msrc\.zip cannot be downloaded: .*by hand: ask Microsoft"
    ):
        fetch("msrc_v2", tmp_path / "new" / "msrc")
    assert left(tmp_path / "new") == []


def test_a_file_that_is_no_archive_leaves_nothing_behind(tmp_path: Path, publish) -> None:
    (tmp_path / "x.zip").write_bytes(b"<html>moved</html>")
    publish("msrc_v2", Download(url=(tmp_path / "x.zip").as_uri()))
    with pytest.raises(DataError, match=r"x\.zip: cannot be unpacked"):
        fetch("msrc_v2", tmp_path / "new" / "msrc")
    assert left(tmp_path / "new") == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, publish, pets) -> None:
    publish("oxford_pets", Download(url=pets[0].as_uri()))
    with pytest.raises(ConfigError, match="is not empty; name a folder that does not exist yet"):
        fetch("oxford_pets", tmp_path)


def test_what_only_its_owner_hands_out_tells_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"carvana cannot be fetched: accept the rules .*kaggle\.com"):
        fetch("carvana", tmp_path / "new")


def test_what_needs_preparation_is_prepared(tmp_path: Path, publish) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for kind in ("volume", "labels"):
        stack = np.zeros((30, 4, 4), np.uint8)
        stack[:, 2:] = 255
        tifffile.imwrite(source / f"train-{kind}.tif", stack, photometric="minisblack")
    archive = Path(shutil.make_archive(str(tmp_path / "isbi"), "zip", source))
    publish("isbi2012", Download(url=archive.as_uri()))
    folder = fetch("isbi2012", tmp_path / "em")
    assert left(folder) == ["images", "labels"]
    assert len(load_data(DataConfig.parse({"preset": "isbi2012", "root": folder})).splits["train"]) == 24


def test_an_archive_without_a_folder_of_its_own_gets_the_one_that_the_layout_needs(tmp_path: Path, publish) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a_L.png").write_bytes(b"")
    archive = Path(shutil.make_archive(str(tmp_path / "labels"), "zip", tmp_path / "masks"))
    _, labels = preset("camvid").downloads
    publish("camvid", labels.model_copy(update={"url": archive.as_uri()}))
    assert left(fetch("camvid", tmp_path / "camvid") / "LabeledApproved_full") == ["a_L.png"]
