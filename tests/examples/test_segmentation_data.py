"""The data sets of the examples: what is read, and what is refused."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
SPLIT = EXAMPLES / "data" / "msrc_v2"


@pytest.fixture(scope="module")
def data() -> Iterator[ModuleType]:
    """The module `segmentation_data` that the example scripts import from beside them."""
    spec = importlib.util.spec_from_file_location("segmentation_data", EXAMPLES / "segmentation_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["segmentation_data"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["segmentation_data"]


def names(split: str) -> list[str]:
    return (SPLIT / f"{split}.txt").read_text(encoding="utf-8").split()


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    """A nuclei set of two images, the second of them for evaluation."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, split in enumerate(("train", "val")):
        (tmp_path / f"{split}.txt").write_text(f"n{number}\n", encoding="utf-8")
        Image.new("L", (6, 4), 40).save(tmp_path / "images" / f"n{number}.png")
        Image.new("L", (6, 4), number).save(tmp_path / "masks" / f"n{number}.png")
    return tmp_path


def msrc_v2(root: Path, layout: str, count: int = 1) -> Path:
    """The first images of the training and validation split; each holds building, void, horse and boat pixels."""
    images, labels, suffix = {
        "original": ("Images", "GroundTruth", "bmp"),
        "recoded": ("images", "labels", "png"),
    }[layout]
    truth = Image.fromarray(np.array([[(128, 0, 0), (0, 0, 0), (128, 0, 128), (192, 64, 0)]] * 3, np.uint8))
    for folder in (images, labels):
        (root / folder).mkdir(parents=True)
    for name in names("train")[:count] + names("val")[:count]:
        Image.new("RGB", (4, 3), (200, 100, 50)).save(root / images / f"{name}.{suffix}")
        mask = truth if layout == "original" else truth.convert("P", palette=Image.Palette.ADAPTIVE)
        mask.save(root / labels / f"{name}_GT.{suffix}")
    return root


def test_the_msrc_v2_split_is_the_official_one_of_276_59_and_256_images() -> None:
    splits = {split: set(names(split)) for split in ("train", "val", "test")}
    assert {split: len(chosen) for split, chosen in splits.items()} == {"train": 276, "val": 59, "test": 256}
    assert len(set.union(*splits.values())) == 591


def test_msrc_v2_has_22_outputs_in_the_official_colours(data: ModuleType) -> None:
    assert len(data.MSRC_V2_CLASSES) == len(set(data.MSRC_V2_CLASSES.values())) == 22
    assert next(iter(data.MSRC_V2_CLASSES)) == "void"
    assert not {"horse", "mountain"} & set(data.MSRC_V2_CLASSES)


@pytest.mark.parametrize("layout", ["original", "recoded"])
def test_msrc_v2_colours_become_indices_and_void_horse_and_mountain_are_left_out(
    data: ModuleType, tmp_path: Path, layout: str
) -> None:
    loaded = data.load_msrc_v2(msrc_v2(tmp_path, layout), "val", limit=1)
    assert [sample.name for sample in loaded.train + loaded.evaluation] == [names("train")[0], names("val")[0]]
    assert loaded.train[0].image.shape == (3, 4, 3)
    assert loaded.train[0].target.tolist() == [[1, data.VOID, data.VOID, 21]] * 3


def test_an_unknown_colour_is_refused_with_file_colour_and_pixel_count(data: ModuleType, tmp_path: Path) -> None:
    root = msrc_v2(tmp_path, "original")
    path = root / "GroundTruth" / f"{names('train')[0]}_GT.bmp"
    mask = np.array(Image.open(path))
    mask[0, :2] = (1, 2, 3)
    Image.fromarray(mask).save(path)
    with pytest.raises(data.DataError) as caught:
        data.load_msrc_v2(root, "val", limit=1)
    assert str(path) in str(caught.value)
    assert "2 pixels" in str(caught.value)
    assert "(1, 2, 3) (2)" in str(caught.value)


def test_missing_folders_and_files_are_refused_by_name(data: ModuleType, tmp_path: Path, nuclei: Path) -> None:
    with pytest.raises(data.DataError, match="nowhere: no such folder"):
        data.load_msrc_v2(tmp_path / "nowhere", "val")
    with pytest.raises(data.DataError, match="no folder Images and no folder GroundTruth"):
        data.load_msrc_v2(nuclei / "masks", "val")
    root = msrc_v2(tmp_path / "msrc", "original")
    missing = names("train")[1]
    with pytest.raises(data.DataError, match=rf"{missing}_GT: no such image; looked for \.bmp, \.png"):
        data.load_msrc_v2(root, "val", limit=2)
    (nuclei / "images" / "n1.png").unlink()
    with pytest.raises(data.DataError, match=r"n1\.png: cannot be read"):
        data.load_nuclei(nuclei, "val")


def test_an_image_and_a_mask_of_different_sizes_are_refused_with_both_sizes(data: ModuleType, nuclei: Path) -> None:
    Image.new("L", (4, 6)).save(nuclei / "masks" / "n0.png")
    with pytest.raises(data.DataError, match=r"n0: the image is \(4, 6\), its mask is \(6, 4\)"):
        data.load_nuclei(nuclei, "val")


def test_class_indices_outside_the_table_are_refused_with_their_count(data: ModuleType, nuclei: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[0, :3] = 7
    mask[1, 0] = data.VOID
    Image.fromarray(mask).save(nuclei / "masks" / "n1.png")
    with pytest.raises(data.DataError, match=r"n1\.png: 3 pixels .* \(7\); expected 0 to 2, or 255"):
        data.load_nuclei(nuclei, "val")


def test_a_file_that_is_no_image_is_refused(data: ModuleType, nuclei: Path) -> None:
    (nuclei / "images" / "n0.png").write_bytes(b"not a picture")
    with pytest.raises(data.DataError, match=r"n0\.png: cannot be read as an image"):
        data.load_nuclei(nuclei, "val")


def test_crops_move_image_and_target_together(data: ModuleType) -> None:
    target = np.arange(100, dtype=np.uint8).reshape(10, 10)
    sample = data.Sample("ramp", np.repeat(target[..., None], 3, axis=2), target)
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        image, labels = data.RandomCrops([sample], 6, upright=False)[0]
        assert image.shape == (3, 6, 6)
        pixels = torch.from_numpy(target).float()
        expected = (labels.float() - pixels.mean()) / torch.from_numpy(sample.image).float().std()
        torch.testing.assert_close(image, expected.expand(3, 6, 6))
        seen.add((labels[0, 1] - labels[0, 0]).item())
    assert seen == {1, -1, 10, -10}  # mirrored and turned


def test_upright_images_are_mirrored_but_never_turned(data: ModuleType) -> None:
    target = np.arange(100, dtype=np.uint8).reshape(10, 10)
    sample = data.Sample("ramp", np.repeat(target[..., None], 3, axis=2), target)
    torch.manual_seed(0)
    crops = [data.RandomCrops([sample], 6, upright=True)[0][1] for _ in range(40)]
    assert {(labels[0, 1] - labels[0, 0]).item() for labels in crops} == {1, -1}
    assert {(labels[1, 0] - labels[0, 0]).item() for labels in crops} == {10}


def test_an_image_smaller_than_the_crop_is_filled_up_with_void(data: ModuleType) -> None:
    sample = data.Sample("small", np.full((3, 5, 3), 9, np.uint8), np.ones((3, 5), np.uint8))
    image, labels = data.RandomCrops([sample], 8, upright=True)[0]
    assert image.shape == (3, 8, 8)
    assert (labels == 1).sum() == 15
    assert (labels == data.VOID).sum() == 64 - 15
