"""Loading a data set: pairs, splits, and all that is verified before training starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.data.conftest import Write
from unetzoo.errors import ConfigError
from unetzoo.training.data import DataConfig, DataError, load_data

CELLS = ["background", "cell"]


def config(root: Path, **options: object) -> DataConfig:
    return DataConfig.parse({"root": root, "classes": CELLS, "normalize": "none", **options})


def names(root: Path, **options: object) -> dict[str, list[str]]:
    splits = load_data(config(root, **options)).splits
    return {split: [entry.name for entry in folder.entries] for split, folder in splits.items()}


def problems(root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load_data(config(root, **options))
    return str(caught.value)


def test_a_sample_is_an_image_with_channels_first_its_labels_and_its_name(six: Path) -> None:
    data = load_data(config(six, splits={"all": 1.0}))
    sample = data.splits["all"][2]
    assert sample["name"] == "a2"
    assert sample["image"].dtype == torch.float32
    torch.testing.assert_close(sample["image"], torch.full((1, 4, 5), 20 / 255))
    assert sample["target"].dtype == torch.int64
    assert sample["target"][:3].tolist() == [[255, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0]]
    assert (data.in_channels, data.num_classes, data.ndim) == (1, 2, 2)


def test_lists_beside_the_data_make_the_split_in_their_order(six: Path) -> None:
    (six / "train.txt").write_text("a3\na1\n", encoding="utf-8")
    (six / "test.txt").write_text("# header\na5.png 7 1\n\n", encoding="utf-8")
    assert names(six) == {"train": ["a3", "a1"], "test": ["a5"]}


def test_a_drawn_split_depends_on_the_seed_alone_and_covers_everything_once(six: Path) -> None:
    thirds = {"train": 0.5, "val": 0.25, "test": 0.25}
    drawn = names(six, splits=thirds)
    assert [len(part) for part in drawn.values()] == [3, 1, 2]
    assert sorted(name for part in drawn.values() for name in part) == [f"a{number}" for number in range(6)]
    assert names(six, splits=thirds) == drawn
    assert any(names(six, splits=thirds, seed=seed) != drawn for seed in range(1, 4))


def test_without_lists_and_splits_a_fifth_is_for_validation(write: Write, tmp_path: Path) -> None:
    for number in range(10):
        write(f"images/{number}.png", np.zeros((2, 2), np.uint8))
        write(f"masks/{number}.png", np.eye(2, dtype=np.uint8))
    assert {split: len(part) for split, part in names(tmp_path).items()} == {"train": 8, "val": 2}


def test_images_of_one_group_stay_in_one_split(write: Write, tmp_path: Path) -> None:
    for car in "abcdef":
        for view in range(3):
            write(f"images/{car}_{view}.png", np.zeros((2, 2), np.uint8))
            write(f"masks/{car}_{view}.png", np.eye(2, dtype=np.uint8))
    for seed in range(5):
        drawn = names(tmp_path, splits={"train": 0.5, "val": 0.5}, group="^[^_]+", seed=seed)
        cars = [{name[0] for name in part} for part in drawn.values()]
        assert [len(part) for part in drawn.values()] == [9, 9]
        assert not cars[0] & cars[1]


def test_splits_may_be_folders(write: Write, tmp_path: Path) -> None:
    for folder in ("training", "valid"):
        write(f"{folder}/sat/x.png", np.zeros((2, 2), np.uint8))
        write(f"{folder}/map/x_road.png", np.eye(2, dtype=np.uint8))
    patterns = {"images": "{split}/sat/{name}.*", "masks": "{split}/map/{name}_road.*"}
    loaded = load_data(config(tmp_path, **patterns, splits={"train": "training", "val": "valid"}))
    assert loaded.train is not None
    assert loaded.val is not None
    assert loaded.val.entries[0].image == tmp_path / "valid" / "sat" / "x.png"


def test_masks_may_lie_beside_their_images(write: Write, tmp_path: Path) -> None:
    for name in ("1", "2"):
        write(f"{name}.png", np.zeros((2, 2), np.uint8))
        write(f"{name}_mask.png", np.eye(2, dtype=np.uint8))
    assert names(tmp_path, images="{name}.png", masks="{name}_mask.png", splits={"train": 1.0}) == {"train": ["1", "2"]}


def test_folders_below_are_part_of_the_name_and_some_images_may_need_no_mask(write: Write, tmp_path: Path) -> None:
    for name in ("crack/0", "good/0"):
        write(f"test/{name}.png", np.zeros((2, 2), np.uint8))
    write("ground_truth/crack/0_mask.png", np.eye(2, dtype=np.uint8) * 255)
    options = {"images": "test/{name}.png", "masks": "ground_truth/{name}_mask.png", "threshold": 128}
    data = load_data(config(tmp_path, **options, unmasked="good/*", splits={"train": 1.0}))
    assert data.train is not None
    assert [entry.name for entry in data.train.entries] == ["crack/0", "good/0"]
    assert data.train[0]["target"].tolist() == [[1, 0], [0, 1]]
    assert data.train[1]["target"].tolist() == [[0, 0], [0, 0]]
    assert "no mask found as ground_truth/good/0_mask.png" in problems(tmp_path, **options, splits={"train": 1.0})


def test_of_several_patterns_the_first_that_finds_files_counts(six: Path) -> None:
    (six / "masks").rename(six / "labels")
    assert len(names(six, masks=["masks", "labels"], splits={"train": 1.0})["train"]) == 6


def test_all_problems_are_told_at_once_with_their_files(six: Path, write: Write) -> None:
    (six / "masks" / "a0.png").unlink()
    (six / "images" / "a1.png").write_bytes(b"no image")
    write("masks/a2.png", np.zeros((5, 4), np.uint8))
    write("masks/a3.png", np.full((4, 5), 7, np.uint8))
    write("images/a4.png", np.zeros((4, 5, 3), np.uint8))
    write("images/a6.png", np.zeros((4, 5), np.uint8))
    write("masks/a6.png", np.zeros((4, 5), np.uint8))
    told = problems(six, splits={"train": 0.5, "val": 0.5})
    assert told.startswith(f"5 problems in the data set {six}:")
    for line in (
        f"{six}/images/a0.png: no mask found as masks/a0.*",
        f"{six}/images/a1.png: cannot be read",
        f"{six}/masks/a2.png: the mask is (5, 4), its image a2.png is (4, 5)",
        f"{six}/masks/a3.png: 20 pixels of values outside the class table: 7 (20); expected 0, 1, or 255 for void",
        f"{six}/images/a4.png: 3 channels, where 2 images have 1; set `channels` to rgb or gray",
    ):
        assert line in told


def test_a_corrupt_image_is_found_wherever_it_stands(six: Path) -> None:
    path = six / "images" / "a5.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path}: cannot be read" in problems(six, splits={"train": 0.5, "val": 0.5})


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path: Path, write: Write) -> None:
    for number in range(30):
        write(f"images/{number:02d}.png", np.zeros((2, 2), np.uint8))
        write(f"masks/{number:02d}.png", np.full((2, 2), 9, np.uint8))
    told = problems(tmp_path)
    assert told.startswith("30 problems")
    assert told.endswith("and 10 more")


def test_folders_that_are_missing_or_empty_are_refused(six: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'}: no such folder" in problems(tmp_path / "nowhere")
    (tmp_path / "empty" / "images").mkdir(parents=True)
    assert "no images found as images/{name}.*" in problems(tmp_path / "empty")
    assert "no images found as photos/{name}.*" in problems(six, images="photos")


def test_lists_that_are_wrong_are_refused(six: Path) -> None:
    told = {"train": "t.txt", "val": "v.txt"}
    assert f"{six / 't.txt'}: no such file" in problems(six, splits=told)
    (six / "t.txt").write_text("a0\na9\na1\na1\n", encoding="utf-8")
    (six / "v.txt").write_text("a0\n", encoding="utf-8")
    wrong = problems(six, splits=told)
    assert "a9: listed in a split, but there is no such image" in wrong
    assert "t.txt: lists a1 more than once" in wrong
    assert "a0: is in both 'train' and 'val'" in wrong
    (six / "t.txt").write_text("a1\n", encoding="utf-8")
    (six / "v.txt").write_text("", encoding="utf-8")
    assert "split 'val' is empty" in problems(six, splits=told)


def test_two_files_of_one_name_are_refused(six: Path) -> None:
    Image.new("L", (5, 4)).save(six / "images" / "a0.bmp")
    assert "images/a0.png: another file of the same name is a0.bmp" in problems(six)


@pytest.mark.parametrize("value", [255, 0])
def test_masks_that_hold_one_class_throughout_are_refused(six: Path, write: Write, value: int) -> None:
    for number in range(6):
        mask = np.zeros((4, 5), np.uint8)
        mask[0] = value
        write(f"masks/a{number}.png", mask)
    told = problems(six)
    assert "all masks together hold only 'background'" in told
    assert "threshold: 128" in told
    assert ("and void" in told) == (value == 255)


def test_only_the_splits_asked_for_are_read(six: Path) -> None:
    (six / "train.txt").write_text("a0\n", encoding="utf-8")
    (six / "test.txt").write_text("a1\n", encoding="utf-8")
    (six / "masks" / "a0.png").unlink()
    loaded = load_data(config(six), splits=["test"])
    assert list(loaded.splits) == ["test"]
    with pytest.raises(ConfigError, match=r"no split 'tset'; did you mean 'test'\? \(splits: train, test\)"):
        load_data(config(six), splits=["tset"])


def test_progress_counts_every_file(six: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_data(config(six), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(count, 6) for count in range(1, 7)]


def test_a_limit_keeps_the_first_images_of_each_split(six: Path) -> None:
    (six / "train.txt").write_text("a3\na1\na2\n", encoding="utf-8")
    assert names(six, limit=2) == {"train": ["a3", "a1"]}


def test_hidden_and_other_files_are_passed_over(six: Path) -> None:
    (six / "images" / "._a0.png").write_bytes(b"")
    (six / "images" / "Thumbs.db").write_bytes(b"")
    assert len(names(six, splits={"train": 1.0})["train"]) == 6


def test_whether_all_images_lie_in_0_to_1_is_measured_and_imagenet_needs_it(tmp_path: Path, write: Write) -> None:
    for number, brightest in enumerate((1.0, 200.0)):
        (tmp_path / "images").mkdir(exist_ok=True)
        np.savez(tmp_path / "images" / f"{number}.npz", np.linspace(0, brightest, 4).reshape(2, 2))
        write(f"masks/{number}.png", np.eye(2, dtype=np.uint8))
    (tmp_path / "train.txt").write_text("0\n", encoding="utf-8")
    assert load_data(config(tmp_path)).unit_range
    assert not load_data(config(tmp_path, normalize="image")).unit_range
    (tmp_path / "train.txt").write_text("0\n1\n", encoding="utf-8")
    assert not load_data(config(tmp_path)).unit_range
    options = {"normalize": "imagenet", "channels": "rgb"}
    assert f"{tmp_path}/images/1.npz: holds values outside 0 to 1" in problems(tmp_path, **options)
