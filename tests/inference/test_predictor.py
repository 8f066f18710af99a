"""Predictor: raw images in, labels out, prepared as the model says."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import unetzoo
from unetzoo import Classes, ConfigError, DenseModel, InputError, Predictor, Preprocessing
from unetzoo.images import image as images

PIXELS = np.random.default_rng(0).integers(0, 200, (150, 170, 3), np.uint8)
PIXELS[0, 0] = 255  # the maximum of the image is in one of its windows alone
CLASSES = Classes(names=("background", "road", "river"), colors=((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def small(preprocessing: Preprocessing | None, **options: object) -> DenseModel:
    torch.manual_seed(0)
    model = unetzoo.create("unet", **{"num_classes": 3, "encoder": {"channels": [4, 8]}, **options}).eval()
    model.preprocessing = preprocessing
    model.classes = CLASSES
    return model


def by_hand(model: DenseModel) -> np.ndarray:
    assert model.preprocessing is not None
    with torch.no_grad():
        return model(model.preprocessing(PIXELS))[0].softmax(0).numpy()


PREPARED = {
    "fixed": Preprocessing(channels="bgr", input_range=(0, 255), mean=(104, 117, 123), std=(1, 2, 3)),
    "of each image": Preprocessing(channels="rgb", per_image=True),
    "by its maximum": Preprocessing(channels="rgb", maximum="image"),
}


@pytest.mark.parametrize("preprocessing", PREPARED.values(), ids=PREPARED)
def test_every_form_of_an_image_gives_what_the_model_makes_of_it(preprocessing: Preprocessing, tmp_path: Path) -> None:
    model = small(preprocessing)
    predictor = Predictor(model)
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", PIXELS)
    expected = by_hand(model)
    forms = (
        PIXELS,
        Image.fromarray(PIXELS),
        torch.from_numpy(PIXELS).movedim(-1, 0),
        tmp_path / "a.png",
        tmp_path / "a.npy",
    )
    for image in forms:
        found = predictor.predict(image, probabilities=True)
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
        np.testing.assert_array_equal(found.labels, found.probabilities.argmax(0))
    assert found.classes.names[2] == "river"
    assert found.colors[found.labels == 2].tolist() == [[0, 0, 255]] * int((found.labels == 2).sum())


@pytest.mark.parametrize("preprocessing", PREPARED.values(), ids=PREPARED)
def test_a_large_image_is_read_in_windows_and_predicted_as_a_whole_one(
    preprocessing: Preprocessing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(preprocessing)
    tags = [(33550, "d", 3, (0.3, 0.3, 0.0), True)]  # ModelPixelScale
    tifffile.imwrite(
        tmp_path / "scene.tif", PIXELS, tile=(32, 32), photometric="rgb", compression="zlib", extratags=tags
    )
    read, largest = images.Image.read, [0]

    def watch(image: images.Image, window: tuple[slice, ...]) -> np.ndarray:
        largest[0] = max(largest[0], int(np.prod([part.stop - part.start for part in window])))
        return read(image, window)

    monkeypatch.setattr(images.Image, "read", watch)
    monkeypatch.setattr("unetzoo.images.windows.STRIP", 2000)
    predictor = Predictor(model, tile=96)
    out, probabilities = tmp_path / "labels.tif", tmp_path / "probabilities.npy"
    predictor.predict_file(tmp_path / "scene.tif", out, probabilities=probabilities)
    assert 0 < largest[0] <= 96 * 96
    np.testing.assert_allclose(np.load(probabilities), by_hand(model), atol=1e-5)
    with tifffile.TiffFile(out) as written:
        np.testing.assert_array_equal(written.asarray(), np.load(probabilities).argmax(0))
        assert written.pages[0].tags[33550].value == (0.3, 0.3, 0.0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_are_predicted_where_they_lie(suffix: str, tmp_path: Path) -> None:
    model = small(Preprocessing(ndim=3, channels="gray", input_range=None, per_image=True), ndim=3, in_channels=1)
    volume = np.random.default_rng(1).normal(300, 50, (12, 16, 20)).astype(np.float32)
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    nibabel.nifti1.save(nibabel.nifti1.Nifti1Image(volume, affine), tmp_path / f"brain{suffix}")
    Predictor(model).predict_file(tmp_path / f"brain{suffix}", tmp_path / f"mask{suffix}")
    written = nibabel.nifti1.load(tmp_path / f"mask{suffix}")
    with torch.no_grad():
        expected = model(torch.from_numpy((volume - volume.mean()) / volume.std())[None, None])[0].argmax(0)
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
    np.testing.assert_array_equal(written.affine, affine)


def test_labels_are_saved_with_their_colors(tmp_path: Path) -> None:
    found = Predictor(small(PREPARED["fixed"])).predict(PIXELS)
    found.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), found.labels)
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), found.colors)
    with pytest.raises(InputError, match=r"cannot be written as mask\.jpg"):
        found.save(tmp_path / "mask.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png"]


def test_augmentation_and_blending_are_passed_on() -> None:
    model = small(PREPARED["fixed"])
    mirrored = Predictor(model, tta="flips").predict(PIXELS[:, ::-1], probabilities=True)
    plain = Predictor(model, tta="flips").predict(PIXELS, probabilities=True)
    assert mirrored.probabilities is not None
    assert plain.probabilities is not None
    np.testing.assert_allclose(mirrored.probabilities[..., ::-1], plain.probabilities, atol=1e-5)
    blended = Predictor(model, mode="blend", tile=64, overlap=0.25, batch_size=3).predict(PIXELS, probabilities=True)
    assert blended.probabilities is not None
    assert np.abs(blended.probabilities - by_hand(model)).mean() < 0.05


def test_a_saved_model_is_loaded_with_what_stands_beside_its_weights(tmp_path: Path) -> None:
    model = small(PREPARED["fixed"])
    model.save_pretrained(tmp_path)
    found = Predictor(tmp_path, device="cpu").predict(PIXELS)
    np.testing.assert_array_equal(found.labels, by_hand(model).argmax(0))
    assert found.classes == CLASSES


def test_a_model_that_does_not_say_how_its_images_are_prepared_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not say how its images are prepared"):
        Predictor(small(None))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((40, 40, 5), np.uint8), "5 channels cannot be converted"),
        (np.full((40, 40, 3), 77.0, np.float32), "values from 77 to 77; expected 0 to 1"),
        (np.full((40, 40, 3), np.nan, np.float32), "not finite"),
        (np.zeros((40, 40, 3), complex), "expected numbers"),
        (np.zeros((2, 40, 40, 3), np.uint8), "a single image, not a batch"),
        ("nowhere.png", "nowhere.png"),
        ("nowhere.npy", "nowhere.npy: no such file"),
        ("README.md", "not read"),
    ],
)
def test_what_is_no_image_for_the_model_is_refused(image: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Predictor(small(Preprocessing(channels="rgb", mean=(0.5,) * 3, std=(0.5,) * 3))).predict(image)


def test_other_channels_than_the_model_takes_are_refused() -> None:
    with pytest.raises(InputError, match="has 3 channels; expected 4"):
        Predictor(small(Preprocessing(), in_channels=4)).predict(PIXELS)
