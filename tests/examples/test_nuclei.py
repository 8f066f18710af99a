"""The shipped nuclei set, and the script that made it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

DATA = Path(__file__).parents[2] / "examples" / "data"
NUCLEI = DATA / "nuclei"


def names(split: str, root: Path = NUCLEI) -> list[str]:
    return (root / f"{split}.txt").read_text(encoding="utf-8").split()


def test_the_set_has_the_images_that_its_readme_tells_and_no_others() -> None:
    listed = sorted(names("train") + names("val"))
    assert (len(names("train")), len(names("val"))) == (90, 22)
    for folder in ("images", "masks"):
        assert sorted(path.name for path in (NUCLEI / folder).iterdir()) == [f"{name}.png" for name in listed]


def test_no_image_is_in_both_splits_under_any_name() -> None:
    train, val = ({(NUCLEI / "images" / f"{name}.png").read_bytes() for name in names(s)} for s in ("train", "val"))
    assert len(train) == 90
    assert len(val) == 22
    assert not train & val


def test_the_whole_set_takes_at_most_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in NUCLEI.rglob("*") if path.is_file()) <= 3_000_000


def test_masks_are_index_images_of_the_images_size_that_hold_the_three_classes() -> None:
    for name in names("train") + names("val"):
        image, mask = (Image.open(NUCLEI / folder / f"{name}.png") for folder in ("images", "masks"))
        assert (image.mode, image.size, mask.mode, mask.size) == ("L", (256, 256), "P", (256, 256)), name
        assert set(np.unique(mask)) == {0, 1, 2}, name


def test_origin_and_terms_stand_beside_the_files() -> None:
    readme = (NUCLEI / "README.md").read_text(encoding="utf-8")
    assert "BBBC038" in readme
    assert "CC0" in readme


def run_script(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DATA / "make_nuclei.py"), "--source", str(source), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def two_nuclei() -> npt.NDArray[np.uint8]:
    """Labels of a nucleus in the corner and of two more that touch along a column."""
    labels = np.zeros((256, 256), np.uint8)
    labels[0:4, 0:4] = 1
    labels[10:20, 10:15] = 2
    labels[10:20, 15:20] = 3
    return labels


def write_source(root: Path, count: int, layout: str) -> None:
    """Write `count` images named by number; their gray value is their number."""
    for number in range(count):
        name = f"{number:016d}"
        folder = root / name if layout == "published" else root
        image = folder / "images" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((256, 256), number, np.uint8)).convert("RGBA").save(image)
        if layout == "merged":
            (root / "labels").mkdir(exist_ok=True)
            Image.fromarray(two_nuclei()).save(root / "labels" / f"{name}.png")
            continue
        (folder / "masks").mkdir()
        for label in (1, 2, 3):
            Image.fromarray(np.where(two_nuclei() == label, 255, 0).astype(np.uint8)).save(
                folder / f"masks/{label}.png"
            )


@pytest.mark.parametrize("layout", ["published", "merged"])
def test_the_script_keeps_every_third_image_and_every_fifth_of_those_for_validation(
    tmp_path: Path, layout: str
) -> None:
    write_source(tmp_path / "source", 31, layout)
    other_size = tmp_path / "source" / "images" / "00.png"
    other_size.parent.mkdir(exist_ok=True)
    Image.new("L", (256, 320)).save(other_size)
    done = run_script(tmp_path / "source", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    train, val = ([int(name) for name in names(split, tmp_path / "out")] for split in ("train", "val"))
    assert train == [0, 3, 6, 9, 15, 18, 21, 24, 30]
    assert val == [12, 27]
    assert np.unique(Image.open(tmp_path / "out" / "images" / f"{27:016d}.png")).tolist() == [27]


@pytest.mark.parametrize("layout", ["published", "merged"])
def test_border_is_one_pixel_on_each_side_of_every_outline(tmp_path: Path, layout: str) -> None:
    write_source(tmp_path / "source", 1, layout)
    done = run_script(tmp_path / "source", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{0:016d}.png"))
    expected = np.zeros((256, 256), np.uint8)
    expected[0:5, 0:5] = 2  # cut off by the image: no outline there
    expected[0:3, 0:3] = 1
    expected[9:21, 9:21] = 2
    expected[11:19, 11:14] = 1  # columns 14 and 15, where the nuclei touch, are border
    expected[11:19, 16:19] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_source_that_is_no_such_folder_or_holds_no_images_is_refused(tmp_path: Path) -> None:
    for source, message in [(tmp_path / "nowhere", "no such folder"), (tmp_path, "no 256 x 256 images")]:
        done = run_script(source, tmp_path / "out")
        assert done.returncode == 2
        assert str(source) in done.stderr
        assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_labels_of_another_size_and_missing_labels_are_refused(tmp_path: Path) -> None:
    write_source(tmp_path, 1, "merged")
    labels = tmp_path / "labels" / f"{0:016d}.png"
    Image.new("L", (256, 255)).save(labels)
    assert "its labels are (255, 256)" in run_script(tmp_path, tmp_path / "out").stderr
    labels.unlink()
    assert f"{labels}: no such file" in run_script(tmp_path, tmp_path / "out").stderr
