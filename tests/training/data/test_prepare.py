"""Preparing what owners publish as stacks and as layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from unetzoo.training.data import DataConfig, DataError, load_data
from unetzoo.training.data.prepare import layer_mask, prepare


def test_the_stacks_of_isbi_2012_become_slices_that_its_preset_reads(tmp_path: Path) -> None:
    source = tmp_path / "source" / "ISBI-2012-challenge"
    source.mkdir(parents=True)
    volume = np.arange(30 * 6, dtype=np.uint8).reshape(30, 2, 3)
    labels = np.zeros((30, 2, 3), np.uint8)
    labels[:, 1] = 255
    tifffile.imwrite(source / "train-volume.tif", volume, photometric="minisblack")
    tifffile.imwrite(source / "train-labels.tif", labels, photometric="minisblack")
    assert prepare("slices", tmp_path / "source", tmp_path / "out") == 30
    data = load_data(DataConfig.parse({"preset": "isbi2012", "root": tmp_path / "out", "normalize": "none"}))
    assert {split: len(folder) for split, folder in data.splits.items()} == {"train": 24, "val": 6}
    sample = data.splits["val"][1]
    assert (sample["image"][0] * 255).round().tolist() == volume[25].tolist()
    assert sample["target"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_layer_reaches_from_its_boundary_to_the_row_above_the_next() -> None:
    boundaries = np.array([[2.0, 2.0, 1.0], [4.0, np.nan, 6.0]])
    fluid = np.zeros((6, 3))
    fluid[2, 0] = 1
    fluid[5, 2] = np.nan
    mask = layer_mask(boundaries, fluid, 6)
    assert mask[:, 0].tolist() == [0, 1, 3, 2, 2, 2]
    assert mask[:, 1].tolist() == [255] * 6
    assert mask[:, 2].tolist() == [1, 1, 1, 1, 1, 2]


def test_annotated_scans_of_each_patient_become_images_that_the_preset_splits_by_patient(tmp_path: Path) -> None:
    layers = np.full((8, 5, 4), np.nan)
    layers[:, 1:4, 2] = np.arange(2, 10)[:, None]
    for patient in range(1, 11):
        scans = np.full((12, 5, 4), patient, np.uint8)
        content = {"images": scans, "manualLayers1": layers, "manualFluid1": np.zeros((12, 5, 4))}
        savemat(tmp_path / f"Subject_{patient:02d}.mat", content)
    assert prepare("oct_layers", tmp_path, tmp_path / "out") == 10
    data = load_data(DataConfig.parse({"preset": "chiu2015_oct", "root": tmp_path / "out", "normalize": "none"}))
    assert [len(folder) for folder in data.splits.values()] == [6, 2, 2]
    sample = data.splits["train"][0]
    assert sample["name"].endswith("_02")
    assert sample["target"][:, 0].tolist() == [255] * 12
    assert sample["target"][:, 2].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert data.classes.names[8] == "below the retina"


def test_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file train-volume\.tif in it or below"):
        prepare("slices", tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"no files Subject_\*\.mat"):
        prepare("oct_layers", tmp_path, tmp_path / "out")
    savemat(tmp_path / "Subject_01.mat", {"images": np.zeros((2, 2, 2))})
    with pytest.raises(DataError, match=r"Subject_01\.mat: expected images, manualLayers1"):
        prepare("oct_layers", tmp_path, tmp_path / "out")
    (tmp_path / "Subject_01.mat").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"Subject_01\.mat: expected images, manualLayers1"):
        prepare("oct_layers", tmp_path, tmp_path / "out")
