"""Reading images and masks of every kind of file."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from unetzoo.errors import InputError
from unetzoo.images.whole import read_image, read_mask

RAMP = np.arange(0, 240, 12, dtype=np.uint8).reshape(4, 5)
RGB = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


def save(path: Path, array: npt.NDArray[np.generic]) -> Path:
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[2:] == (3,) else "minisblack")
    elif path.suffix == ".npz":
        np.savez_compressed(path, array)
    elif path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.npz"])
@pytest.mark.parametrize("pixels", [RAMP, RGB], ids=["gray", "rgb"])
def test_pictures_lie_in_0_to_1_with_channels_last(tmp_path: Path, name: str, pixels: npt.NDArray[np.uint8]) -> None:
    image = read_image(save(tmp_path / name, pixels))
    assert image.dtype == np.float32
    expected = pixels.reshape(4, 5, -1) / 255
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), RGB / 255, atol=0.15)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_pictures_of_16_bit_are_divided_by_65535(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.array([[0, 300, 65535]], np.uint16))
    np.testing.assert_allclose(read_image(path)[..., 0], [[0, 300 / 65535, 1]], rtol=1e-6)


def test_pictures_of_1_bit_are_0_and_1(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[True, False]]))
    assert read_image(path)[..., 0].tolist() == [[1, 0]]
    assert read_mask(path).tolist() == [[1, 0]]
    assert read_mask(path, gray=True).tolist() == [[255, 0]]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npz", "a.tif"])
def test_volumes_keep_their_values(tmp_path: Path, name: str) -> None:
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4) * 100
    path = save(tmp_path / name, volume)
    np.testing.assert_array_equal(read_image(path, ndim=3)[..., 0], volume)
    np.testing.assert_array_equal(read_mask(path, ndim=3), volume)


def test_nifti_scaling_is_applied(tmp_path: Path) -> None:
    stored = nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4))
    stored.header.set_slope_inter(2.0, 5.0)
    nibabel.save(stored, tmp_path / "a.nii")
    loaded = nibabel.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii", ndim=3)[..., 0], loaded)


def test_channels_of_tiffs_come_last_wherever_they_are_stored(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), RGB / 255, atol=1e-6)
    tifffile.imwrite(
        tmp_path / "b.tif", np.zeros((6, 4, 5), np.uint8), metadata={"axes": "CYX"}, photometric="minisblack"
    )
    assert read_image(tmp_path / "b.tif").shape == (4, 5, 6)


def test_channels_are_converted_when_told(tmp_path: Path) -> None:
    gray, color = save(tmp_path / "a.png", RAMP), save(tmp_path / "b.png", RGB)
    with_opacity = save(tmp_path / "c.png", np.concatenate([RGB, RGB[..., :1]], -1))
    np.testing.assert_allclose(read_image(gray, channels="rgb"), np.stack([RAMP] * 3, -1) / 255, atol=1e-6)
    np.testing.assert_allclose(read_image(with_opacity, channels="rgb"), RGB / 255, atol=1e-6)
    by_pillow = np.asarray(Image.open(color).convert("L"))[..., None] / 255
    np.testing.assert_allclose(read_image(color, channels="gray"), by_pillow, atol=0.5 / 255 + 1e-6)


def test_a_palette_is_an_index_or_a_color_as_the_table_needs_it(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    mask.putpalette([9, 8, 7, 60, 50, 40])
    mask.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 1], [1, 0]]
    assert read_mask(tmp_path / "a.png", colors=True)[0].tolist() == [[9, 8, 7], [60, 50, 40]]
    assert read_image(tmp_path / "a.png").shape == (2, 2, 3)


def test_a_palette_in_a_tiff_is_an_index_or_a_color_too(tmp_path: Path) -> None:
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 1] = 60 * 256, 50 * 256, 40 * 256
    indices = np.array([[0, 1], [1, 0]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=palette)
    assert read_mask(tmp_path / "a.tif").tolist() == [[0, 1], [1, 0]]
    assert read_mask(tmp_path / "a.tif", colors=True)[0].tolist() == [[0, 0, 0], [60, 50, 40]]


def test_an_archive_may_hold_image_and_mask(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=RAMP, mask=RAMP // 200)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npz"), RAMP // 200)
    np.testing.assert_allclose(read_image(tmp_path / "a.npz")[..., 0], RAMP / 255, atol=1e-6)


def test_an_archive_without_the_array_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=RAMP, second=RAMP)
    with pytest.raises(
        InputError, match=r"a\.npz: expected an array named 'mask', or one array alone; got first, second"
    ):
        read_mask(tmp_path / "a.npz")


def test_an_archive_of_python_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        read_image(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.nii.gz", "a.npz"])
@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    ndim = 3 if "nii" in name else 2
    path = save(tmp_path / name, np.stack([noise] * 3) if ndim == 3 else noise)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "rubbish": b"not an image" * 50, "empty": b""}[damage])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_image(path, ndim=ndim)


@pytest.mark.parametrize(
    ("array", "name", "ndim", "message"),
    [
        (RGB, "a.png", 3, "expected a volume, got a picture"),
        (RGB, "a.tif", 3, "expected a volume, got a picture in color"),
        (RGB, "a.npz", 2, r"expected a mask with one value per pixel, got an array of shape \(4, 5, 3\)"),
        (RGB, "a.png", 2, "a mask in colors needs classes with their colors"),
        (RAMP + 0.5, "a.npz", 2, "whole numbers, got fractions"),
        (np.full((4, 5), np.nan), "a.npz", 2, "whole numbers, got fractions"),
    ],
)
def test_a_mask_of_another_kind_is_refused(
    tmp_path: Path, array: npt.NDArray[np.generic], name: str, ndim: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_mask(save(tmp_path / name, array), ndim=ndim)


def test_an_image_with_values_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", np.array([[1.0, np.inf]]))
    with pytest.raises(InputError, match=r"a\.npz: holds values that are not finite"):
        read_image(path)


def test_a_stack_of_slices_is_not_taken_for_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 9), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: expected one 2-D image, got a stack of shape \(5, 8, 9\)"):
        read_image(tmp_path / "a.tif")
