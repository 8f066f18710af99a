"""The small real sets in examples/data, from the file to an augmented batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from unetzoo.training.augmentation import Affine, AugmentationConfig, Color, Elastic, make_augmentation
from unetzoo.training.data import DataConfig, RandomCrops, SegmentationData, load_data

SHIPPED = Path(__file__).parents[3] / "examples" / "data"


def load(name: str, **options: object) -> SegmentationData:
    described = yaml.safe_load((SHIPPED / name / "data.yaml").read_text(encoding="utf-8"))
    return load_data(DataConfig.parse({**described, "root": SHIPPED / name, **options}))


@pytest.mark.parametrize(
    ("name", "sizes", "channels", "shares"),
    [
        ("hippocampus", (6, 2), 1, [(0.9, 0.97), (0.02, 0.04), (0.02, 0.04)]),
        ("vessels", (4, 2), 3, [(0.9, 0.95), (0.05, 0.1)]),
    ],
)
def test_each_set_is_in_order_and_holds_every_class(
    name: str, sizes: tuple[int, int], channels: int, shares: list[tuple[float, float]]
) -> None:
    data = load(name)
    assert (len(data.splits["train"]), len(data.splits["val"])) == sizes
    assert data.in_channels == channels
    counts = sum(torch.bincount(data.splits["train"][i]["target"].flatten(), minlength=256) for i in range(sizes[0]))
    assert isinstance(counts, torch.Tensor)
    for label, (low, high) in enumerate(shares):
        assert low < counts[label] / counts.sum() < high
    assert counts[len(shares) :].sum() == 0


def test_volumes_smaller_and_larger_than_the_crop_make_one_batch_and_are_augmented_together() -> None:
    data = load("hippocampus", crop=[36, 44, 40])
    size = data.config.crop_size
    assert size is not None
    extents = {tuple(data.splits["train"][index]["target"].shape) for index in range(6)}
    assert any(extent[2] < 40 for extent in extents)
    assert any(extent[1] > 44 for extent in extents)
    batch = next(iter(DataLoader(RandomCrops(data.splits["train"], size), batch_size=6)))
    assert batch["image"].shape == (6, 1, 36, 44, 40)
    padded = batch["target"] == 255
    assert 0 < padded.float().mean() < 0.5
    assert batch["image"][:, 0][padded].std() > 0.1  # mirrored, not filled

    config = AugmentationConfig(
        flip=["width"], affine=Affine(degrees=10.0), elastic=Elastic(deviation=2.0), color=Color(noise=0.1)
    )
    augment = make_augmentation(config, data.ndim, data.classes.ignore_index, unit_range=data.unit_range)
    torch.manual_seed(0)
    image, target = augment(batch["image"], batch["target"])
    assert image.shape == batch["image"].shape
    assert set(target.unique().tolist()) == {0, 1, 2, 255}
    before, after = (int((labels == 1).sum()) for labels in (batch["target"], target))
    assert after == pytest.approx(before, rel=0.2)
