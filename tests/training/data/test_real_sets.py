"""Real data sets beside the project, where `UNETZOO_DATA` names their folder: read whole, with their known facts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from unetzoo.training.data import DataConfig, SegmentationData, load_data

DATA = Path(os.environ.get("UNETZOO_DATA", ""))
pytestmark = pytest.mark.skipif("UNETZOO_DATA" not in os.environ, reason="needs the data folder: set UNETZOO_DATA")


def load(folder: str, **options: object) -> SegmentationData:
    return load_data(DataConfig.parse({"root": DATA / folder, **options}))


def pixels(data: SegmentationData) -> torch.Tensor:
    """How many pixels or voxels each label has, over all splits."""
    counts = torch.zeros(256, dtype=torch.int64)
    for folder in data.splits.values():
        for index in range(len(folder)):
            counts += torch.bincount(folder[index]["target"].flatten(), minlength=256)
    return counts


def test_msrc_v2_holds_its_official_split_and_no_color_outside_its_table() -> None:
    data = load("msrc2", preset="msrc_v2")
    assert {split: len(folder) for split, folder in data.splits.items()} == {"train": 276, "val": 59, "test": 256}
    assert (pixels(data)[:21] > 0).all()


def test_isbi_2012_is_a_fifth_membrane() -> None:
    data = load("isbi2012", preset="isbi2012")
    assert {split: len(folder) for split, folder in data.splits.items()} == {"train": 24, "val": 6}
    assert data.train is not None
    assert data.train[0]["image"].shape == (1, 512, 512)
    counts = pixels(data)
    assert counts.sum() == 30 * 512 * 512
    assert 0.15 < counts[0] / counts.sum() < 0.3


def test_hippocampus_volumes_hold_the_voxels_that_were_counted_when_they_were_staged() -> None:
    data = load("msd_hippocampus", masks="labels", ndim=3, classes=["background", "anterior", "posterior"])
    assert {split: len(folder) for split, folder in data.splits.items()} == {"train": 180, "val": 30, "test": 50}
    assert pixels(data)[1:3].tolist() == [445_938, 410_816]
    assert (data.ndim, data.in_channels) == (3, 1)


def test_vessel_masks_of_one_bit_are_cut_at_128_and_both_eyes_of_a_child_stay_together() -> None:
    data = load(
        "chasedb1",
        masks="vessels_observer1/{name}_1stHO.png",
        classes=["background", "vessel"],
        threshold=128,
        splits={"train": 0.7, "test": 0.3},
        group=r"\d+",
    )
    children = [{entry.name[6:8] for entry in folder.entries} for folder in data.splits.values()]
    assert [len(folder) for folder in data.splits.values()] == [20, 8]
    assert not children[0] & children[1]
    counts = pixels(data)
    assert 0.05 < counts[1] / counts.sum() < 0.1


def test_a_16_bit_tile_and_a_1_bit_mask_are_read() -> None:
    data = load(
        "spacenet_road_tile",
        images="{name}_pan_1300_uint16.png",
        masks="{name}_road_mask.png",
        classes=["background", "road"],
        splits={"train": 1.0},
    )
    counts = pixels(data)
    assert counts[1] / counts.sum() == pytest.approx(0.033, abs=0.001)
