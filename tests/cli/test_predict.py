"""`unetzoo predict`: masks, overlays and probabilities of a trained network."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import unetzoo
from unetzoo.cli import app
from unetzoo.images.whole import read_image
from unetzoo.preprocessing import Preprocessing

NUCLEI = Path(__file__).parents[2] / "examples" / "data" / "nuclei" / "images"
RECIPE = """
model: {name: unet, encoder: {channels: [4, 8]}}
data: {preset: nuclei, root: ROOT, normalize: none, crop: 32, limit: 2}
epochs: 1
batch_size: 2
"""


def predict(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, (model, *arguments)), "--device", "cpu"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network without training."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved")
    model = unetzoo.create("unet", num_classes=3, encoder={"channels": [4, 8]})
    model.preprocessing = Preprocessing(channels="rgb", per_image=True)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def image() -> Path:
    return sorted(NUCLEI.iterdir())[0]


def expected(folder: Path, image: Path) -> torch.Tensor:
    """The logits of an image as a user computes them by hand."""
    pixels = torch.from_numpy(read_image(image, channels="rgb")).permute(2, 0, 1)
    with torch.no_grad():
        return unetzoo.from_pretrained(folder)(Preprocessing(per_image=True).normalize(pixels[None]))[0]


def test_masks_hold_the_class_of_every_pixel_and_overlays_have_the_images_size(
    saved: Path, image: Path, tmp_path: Path
) -> None:
    done = predict(saved, image, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    labels = expected(saved, image).argmax(0).numpy()
    with Image.open(tmp_path / f"{image.stem}_mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), labels)
    with Image.open(tmp_path / f"{image.stem}_overlay.png") as overlay:
        assert overlay.size == labels.shape[::-1]
        assert overlay.mode == "RGB"
    assert len(list(tmp_path.iterdir())) == 2


def test_tiles_and_probabilities_agree_with_the_whole_image(saved: Path, image: Path, tmp_path: Path) -> None:
    done = predict(saved, image, "--out", tmp_path, "--probabilities", "--tile", 96)
    assert done.exit_code == 0, done.output
    probabilities = np.load(tmp_path / f"{image.stem}_probabilities.npy")
    np.testing.assert_allclose(probabilities, expected(saved, image).softmax(0), atol=1e-5)


def test_test_time_augmentation_makes_the_prediction_of_a_mirrored_image_its_mirror_image(
    saved: Path, image: Path, tmp_path: Path
) -> None:
    with Image.open(image) as picture:
        picture.convert("RGB").save(tmp_path / "plain.png")
        picture.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    done = predict(saved, tmp_path, "--out", tmp_path / "out", "--tta", "flips", "--probabilities")
    assert done.exit_code == 0, done.output
    plain, mirrored = (np.load(tmp_path / "out" / f"{name}_probabilities.npy") for name in ("plain", "mirrored"))
    np.testing.assert_allclose(mirrored, plain[..., ::-1], atol=1e-5)


def test_the_folder_of_a_run_tells_normalization_and_colors(image: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("ROOT", str(NUCLEI.parent)), encoding="utf-8")
    run = CliRunner().invoke(app, ["train", str(recipe), "--out", str(tmp_path / "run"), "--cpu"])
    assert run.exit_code == 0, run.output
    done = predict(tmp_path / "run", image, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    pixels = torch.from_numpy(read_image(image, channels="rgb")).permute(2, 0, 1)
    with torch.no_grad():
        labels = unetzoo.from_pretrained(tmp_path / "run" / "model")(pixels[None])[0].argmax(0)
    with Image.open(tmp_path / "out" / f"{image.stem}_mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), labels)
        assert mask.getpalette()[:9] == [0, 0, 0, 64, 160, 255, 255, 96, 0]  # the colors of the preset


def test_masks_of_volumes_and_geotiffs_keep_their_place_in_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)  # the extra `train` does not bring it
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    volume = np.random.default_rng(0).normal(size=(12, 10, 8)).astype(np.float32)
    nibabel.nifti1.save(nibabel.nifti1.Nifti1Image(volume, affine), tmp_path / "brain.nii.gz")
    solid = unetzoo.create("unet", ndim=3, in_channels=1, num_classes=2, encoder={"channels": [2, 4]})
    solid.preprocessing = Preprocessing(ndim=3, input_range=None, per_image=True)
    unetzoo.save_pretrained(solid, tmp_path / "solid")
    assert predict(tmp_path / "solid", tmp_path / "brain.nii.gz", "--out", tmp_path).exit_code == 0
    mask = nibabel.nifti1.load(tmp_path / "brain_mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, affine)
    assert mask.shape == volume.shape

    scale = (33550, "d", 3, (0.3, 0.3, 0.0), True)  # ModelPixelScale
    tifffile.imwrite(tmp_path / "roads.tif", np.zeros((16, 20), np.uint16), extratags=[scale])
    flat = unetzoo.create("unet", in_channels=1, num_classes=1, encoder={"channels": [2, 4]})
    flat.preprocessing = Preprocessing(channels="gray")
    unetzoo.save_pretrained(flat, tmp_path / "flat")
    assert predict(tmp_path / "flat", tmp_path / "roads.tif", "--out", tmp_path).exit_code == 0
    with tifffile.TiffFile(tmp_path / "roads_mask.tif") as written:
        assert written.pages[0].shape == (16, 20)
        assert written.pages[0].tags[33550].value == (0.3, 0.3, 0.0)


def test_one_corrupt_image_of_many_is_named_and_the_others_are_predicted(
    saved: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(image.read_bytes()[:100])
    (tmp_path / "whole.png").write_bytes(image.read_bytes())
    done = predict(saved, tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "broken.png" in str(done.exception)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["whole_mask.png", "whole_overlay.png"]


def test_input_that_cannot_be_meant_is_refused_before_anything_is_written(
    saved: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.md").write_text("no image", encoding="utf-8")
    (tmp_path / image.name).write_bytes(image.read_bytes())
    for arguments, told in (
        ([tmp_path / "empty"], "holds no images"),
        ([tmp_path / "nowhere.png"], "no such file"),
        ([tmp_path / "text.md"], "not read"),
        ([image, tmp_path / image.name], f"several images are named {image.stem}"),
    ):
        done = predict(saved, *arguments, "--out", tmp_path / "out")
        assert isinstance(done.exception, unetzoo.InputError), done.output
        assert told in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_say_how_images_are_prepared_is_told_by_an_option(image: Path, tmp_path: Path) -> None:
    unetzoo.create("unet", num_classes=2, encoder={"channels": [2, 4]}).save_pretrained(tmp_path / "bare")
    done = predict(tmp_path / "bare", image, "--out", tmp_path / "out")
    assert isinstance(done.exception, unetzoo.ConfigError)
    assert "pass --normalize" in str(done.exception)
    assert not (tmp_path / "out").exists()
    assert predict(tmp_path / "bare", image, "--out", tmp_path / "out", "--normalize", "image").exit_code == 0
