"""Presets: each describes a data set that can be read in the owner's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.data.conftest import Write
from unetzoo.errors import UnknownNameError
from unetzoo.training.data import DataConfig, DataError, SegmentationData, list_presets, load_data, preset
from unetzoo.training.data.presets import FOLDER

EXAMPLES = Path(__file__).parents[3] / "examples" / "data"
PICTURE = np.full((2, 4, 3), 90, np.uint8)


def load(name: str, root: Path, **options: object) -> SegmentationData:
    return load_data(DataConfig.parse({"preset": name, "root": root, **options}))


def listed(name: str, split: str) -> list[str]:
    return (FOLDER / name / f"{split}.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_names_owner_terms_and_split_and_makes_a_valid_config(name: str) -> None:
    described = preset(name)
    assert described.homepage.startswith("http")
    assert min(map(len, (described.cite, described.license, described.terms, described.split_source))) > 5
    assert described.downloads or described.by_hand
    config = DataConfig.parse({"preset": name, "root": "."})
    assert len(config.table) >= 2
    for part in (config.splits or {}).values():
        if isinstance(part, str) and part.endswith(".txt") and "/" in part and not part.startswith("annotations"):
            assert (FOLDER / part).is_file()


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no preset 'msrcv2'; did you mean 'msrc_v2'"):
        preset("msrcv2")


@pytest.mark.parametrize(("name", "sizes"), [("msrc_v2", (276, 59, 256)), ("camvid", (367, 101, 233))])
def test_the_published_splits_have_their_sizes_and_share_no_image(name: str, sizes: tuple[int, ...]) -> None:
    splits = [listed(name, split) for split in ("train", "val", "test")]
    assert tuple(map(len, splits)) == sizes
    assert len(set().union(*splits)) == sum(sizes)


def test_the_shipped_nuclei_are_in_order() -> None:
    data = load("nuclei", EXAMPLES / "nuclei")
    assert {split: len(folder) for split, folder in data.splits.items()} == {"train": 90, "val": 22}
    assert (data.in_channels, data.classes.names) == (3, ("background", "nucleus", "border"))
    assert data.train is not None
    assert data.train[0]["image"].shape == (3, 256, 256)
    present = torch.cat([data.train[index]["target"].unique() for index in range(5)]).unique()
    assert present.tolist() == [0, 1, 2]


@pytest.mark.parametrize("layout", ["downloaded", "original", "recoded"])
def test_msrc_v2_is_read_in_each_layout_with_horse_and_mountain_as_void(
    tmp_path: Path, write: Write, layout: str
) -> None:
    images, labels, suffix = {
        "downloaded": ("MSRC_ObjCategImageDatabase_v2/Images", "MSRC_ObjCategImageDatabase_v2/GroundTruth", "bmp"),
        "original": ("Images", "GroundTruth", "bmp"),
        "recoded": ("images", "labels", "png"),
    }[layout]
    building, boat, void, horse = (128, 0, 0), (192, 64, 0), (0, 0, 0), (128, 0, 128)
    truth = Image.fromarray(np.array([[building, void, horse, boat]] * 2, np.uint8))
    for split in ("train", "val", "test"):
        for name in listed("msrc_v2", split):
            write(f"{images}/{name}.{suffix}", PICTURE)
            mask = truth if layout != "recoded" else truth.convert("P", palette=Image.Palette.ADAPTIVE)
            (tmp_path / labels).mkdir(exist_ok=True)
            mask.save(tmp_path / labels / f"{name}_GT.{suffix}")
    data = load("msrc_v2", tmp_path, limit=1)
    assert data.num_classes == 21
    assert data.train is not None
    assert data.train.entries[0].name == listed("msrc_v2", "train")[0]
    assert data.train[0]["target"].tolist() == [[0, 255, 255, 20]] * 2
    with_void = load("msrc_v2_void", tmp_path, limit=1)
    assert with_void.num_classes == 22
    assert with_void.train is not None
    assert with_void.train[0]["target"].tolist() == [[1, 0, 0, 21]] * 2


def test_camvid_groups_its_32_colors_and_takes_the_blended_pixels_of_its_one_bad_mask_as_void(
    tmp_path: Path, write: Write
) -> None:
    tree, bush, void = (128, 128, 0), (192, 192, 0), (0, 0, 0)
    mask = np.array([[tree, bush, void, tree]] * 300, np.uint8)
    for split in ("train", "val", "test"):
        for name in listed("camvid", split):
            write(f"701_StillsRaw_full/{name}.png", np.zeros_like(mask))
            write(f"LabeledApproved_full/{name}_L.png", mask)
    mask[0, 0] = (128, 128, 51)
    first = listed("camvid", "train")[0]
    write(f"LabeledApproved_full/{first}_L.png", mask)
    data = load("camvid", tmp_path, limit=1)
    assert data.num_classes == 11
    assert data.train is not None
    assert data.train[0]["target"][:2].tolist() == [[255, 5, 255, 5], [5, 5, 255, 5]]
    mask[:2, :2] = (128, 128, 51)
    write(f"LabeledApproved_full/{first}_L.png", mask)
    with pytest.raises(DataError, match=rf"{first}_L\.png: 4 pixels of colors .*\(128, 128, 51\) \(4\)"):
        load("camvid", tmp_path, limit=1)


def halves() -> np.ndarray:
    return np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 2, axis=0)


def test_deepglobe_roads_cuts_its_masks_at_128(tmp_path: Path, write: Write) -> None:
    for number in range(10):
        write(f"train/{number}_sat.jpg", PICTURE)
        write(f"train/{number}_mask.png", np.array([[[3] * 3, [127] * 3, [128] * 3, [250] * 3]] * 2, np.uint8))
    data = load("deepglobe_roads", tmp_path)
    assert [len(folder) for folder in data.splits.values()] == [8, 1, 1]
    assert data.splits["train"][0]["target"].tolist() == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize("around", ["", "mass_roads/"])
def test_massachusetts_roads_has_a_folder_a_split(tmp_path: Path, write: Write, around: str) -> None:
    for folder in ("train", "valid", "test"):
        write(f"{around}{folder}/sat/10078660_15.tiff", PICTURE)
        write(f"{around}{folder}/map/10078660_15.tif", halves())
    data = load("massachusetts_roads", tmp_path)
    assert list(data.splits) == ["train", "val", "test"]
    assert data.splits["val"][0]["target"].tolist() == [[0, 0, 1, 1]] * 2


def test_mvtec_ad_takes_good_parts_as_free_of_defects(tmp_path: Path, write: Write) -> None:
    for number in range(5):
        write(f"test/good/{number:03d}.png", PICTURE)
        write(f"test/crack/{number:03d}.png", PICTURE)
        write(f"ground_truth/crack/{number:03d}_mask.png", halves())
    data = load("mvtec_ad", tmp_path)
    defects = {
        entry.name: folder[i]["target"].sum()
        for folder in data.splits.values()
        for i, entry in enumerate(folder.entries)
    }
    assert len(defects) == 10
    assert all((count == 4) == name.startswith("crack/") for name, count in defects.items())


def test_carvana_keeps_the_views_of_a_car_together(tmp_path: Path, write: Write) -> None:
    for car in range(10):
        for view in range(3):
            write(f"train/c{car}_{view:02d}.jpg", PICTURE)
            mask = Image.fromarray(halves() // 255, "P")
            mask.putpalette([0, 0, 0, 255, 255, 255])
            (tmp_path / "train_masks").mkdir(exist_ok=True)
            mask.save(tmp_path / "train_masks" / f"c{car}_{view:02d}_mask.gif")
    data = load("carvana", tmp_path)
    cars = [{entry.name.split("_")[0] for entry in folder.entries} for folder in data.splits.values()]
    assert [len(part) for part in cars] == [8, 1, 1]
    assert len(set().union(*cars)) == 10
    assert data.splits["train"][0]["target"].tolist() == [[0, 0, 1, 1]] * 2


def test_oxford_pets_reads_its_trimaps_and_leaves_outlines_undecided(tmp_path: Path, write: Write) -> None:
    for name in ("Abyssinian_1", "beagle_2"):
        write(f"images/{name}.jpg", PICTURE)
        write(f"annotations/trimaps/{name}.png", np.array([[1, 2, 3, 1]] * 2, np.uint8))
    (tmp_path / "annotations" / "trimaps" / "._beagle_2.png").write_bytes(b"resource fork")
    (tmp_path / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\n", encoding="utf-8")
    (tmp_path / "annotations" / "test.txt").write_text("beagle_2 2 2 1\n", encoding="utf-8")
    data = load("oxford_pets", tmp_path)
    assert list(data.splits) == ["train", "test"]
    assert data.splits["test"][0]["target"].tolist() == [[1, 0, 255, 1]] * 2
