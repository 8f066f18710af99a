"""Normalization in training: by statistics of the whole image, whatever is cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.data.conftest import Write
from unetzoo.training.data import DataConfig, RandomCrops, load_data


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
