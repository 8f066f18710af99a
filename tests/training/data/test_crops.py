"""Random crops: places, padding, and that they repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.data.conftest import Write
from unetzoo.training.data import DataConfig, RandomCrops, Sample, SegmentationFolder, load_data


@pytest.fixture
def ramps(tmp_path: Path, write: Write) -> SegmentationFolder:
    """Two pictures of 10 x 12 pixels whose values are their labels times two, so that each pixel tells its place."""
    for number in range(2):
        ramp = np.arange(120, dtype=np.uint8).reshape(10, 12) + number
        write(f"images/{number}.png", ramp * 2)
        write(f"masks/{number}.png", ramp)
    classes = [f"class {number}" for number in range(121)]
    data = load_data(
        DataConfig.parse({"root": tmp_path, "classes": classes, "normalize": "none", "splits": {"train": 1.0}})
    )
    assert data.train is not None
    return data.train


def corners(crops: RandomCrops) -> list[int]:
    return [int(crops[index]["target"][0, 0]) for index in range(len(crops))]


def test_image_and_target_are_cut_at_the_same_place(ramps: SegmentationFolder) -> None:
    crops = RandomCrops(ramps, (6, 5))
    for epoch in range(20):
        crops.set_epoch(epoch)
        sample = crops[0]
        assert sample["image"].shape == (1, 6, 5)
        torch.testing.assert_close(sample["image"][0] * 255, sample["target"] * 2.0)


def test_every_place_is_reached(ramps: SegmentationFolder) -> None:
    crops = RandomCrops(ramps, (9, 11))
    seen = set()
    for epoch in range(40):
        crops.set_epoch(epoch)
        seen.add(int(crops[0]["target"][0, 0]))
    assert seen == {0, 1, 12, 13}


def test_crops_depend_on_seed_epoch_and_index_alone(ramps: SegmentationFolder) -> None:
    crops = RandomCrops(ramps, (4, 4), seed=3)
    crops.set_epoch(7)
    first = corners(crops)
    torch.manual_seed(99)
    crops.set_epoch(8)
    other_epoch = corners(crops)
    crops.set_epoch(7)
    assert corners(crops) == first
    assert other_epoch != first
    other_seed = RandomCrops(ramps, (4, 4), seed=4)
    other_seed.set_epoch(7)
    assert corners(other_seed) != first
    assert first[0] != first[1] - 1  # two images of one epoch are not cut at the same place


def test_workers_that_live_on_follow_the_epoch(ramps: SegmentationFolder) -> None:
    crops = RandomCrops(ramps, (4, 4))
    loader = DataLoader(crops, batch_size=2, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        crops.set_epoch(epoch)
        (batch,) = loader
        assert batch["target"][:, 0, 0].tolist() == corners(crops)
        assert batch["name"] == ["0", "1"]


def test_an_image_smaller_than_the_crop_is_mirrored_and_its_target_filled_with_void(ramps: SegmentationFolder) -> None:
    sample: Sample = RandomCrops(ramps, (14, 12))[0]
    assert sample["image"].shape == (1, 14, 12)
    assert (sample["target"] == 255).sum() == 4 * 12
    whole = ramps[0]
    torch.testing.assert_close(sample["target"][2:12], whole["target"])
    torch.testing.assert_close(sample["image"][0, 2:12], whole["image"][0])
    torch.testing.assert_close(sample["image"][0, :2], whole["image"][0, [2, 1]])
    torch.testing.assert_close(sample["image"][0, 12:], whole["image"][0, [8, 7]])


def test_an_image_far_smaller_than_the_crop_is_mirrored_again_and_again(ramps: SegmentationFolder) -> None:
    sample = RandomCrops(ramps, (50, 60))[0]
    assert sample["image"].shape == (1, 50, 60)
    assert (sample["target"] != 255).sum() == 120
    assert sample["image"].min() >= 0
    assert sample["image"].std() > 0.2
