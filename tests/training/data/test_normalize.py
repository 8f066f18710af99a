"""Normalization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.data.conftest import Write
from unetzoo.errors import InputError
from unetzoo.training.data import DataConfig, Normalize, RandomCrops, Standardize, load_data, normalization


def test_each_image_of_a_batch_gets_zero_mean_and_unit_deviation() -> None:
    images = torch.randn(3, 2, 5, 6) * torch.tensor([0.1, 1.0, 500.0]).view(3, 1, 1, 1) + 7
    done = Standardize()(images)
    torch.testing.assert_close(done.mean((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(done.square().mean((1, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, 12345.678])
def test_an_image_of_one_value_stays_near_zero(value: float) -> None:
    assert Standardize()(torch.full((1, 3, 64, 64), value)).abs().max() < 0.05


def test_fixed_means_and_deviations_are_of_the_channels() -> None:
    done = Normalize([1, 2], [2, 4])(torch.full((1, 2, 3, 3), 5.0))
    assert done[0, :, 0, 0].tolist() == [2.0, 0.75]
    assert Normalize([1, 2], [2, 4])(torch.full((1, 2, 3, 3, 3), 5.0))[0, :, 0, 0, 0].tolist() == [2.0, 0.75]


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(InputError, match="for 3 channels got images of 1"):
        normalization(DataConfig.parse({"root": ".", "classes": ["a", "b"], "normalize": "imagenet"}))(
            torch.zeros(1, 1, 4, 4)
        )


def test_crops_keep_the_statistics_of_their_whole_image(tmp_path: Path, write: Write) -> None:
    picture = np.zeros((8, 8), np.uint8)
    picture[:, 4:] = 200
    for number in range(2):
        write(f"images/{number}.png", picture)
        write(f"masks/{number}.png", (picture > 0).astype(np.uint8))
    data = load_data(DataConfig.parse({"root": tmp_path, "classes": ["a", "b"], "splits": {"train": 1.0}}))
    assert data.train is not None
    crops = RandomCrops(data.train, (2, 2))
    values = set()
    for epoch in range(10):
        crops.set_epoch(epoch)
        values |= set(data.normalize(crops[0]["image"][None]).unique().tolist())
    assert sorted(values) == pytest.approx([-1.0, 1.0])
    assert not data.unit_range
