"""Files as people have them: turned, inverted, with opacity, thumbnails or other axes; each with its right values."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

import unetzoo
from unetzoo.applied import Classes
from unetzoo.errors import InputError
from unetzoo.images.channels import upright
from unetzoo.images.opening import open_file
from unetzoo.images.whole import check_same_place, read_image, read_mask, read_pixels
from unetzoo.images.writing import write_labels

RAMP = np.arange(0, 240, 12, dtype=np.uint8).reshape(4, 5)
RGB = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
# The pixels that a viewer shows upright as RAMP, as they are stored for each orientation (EXIF 2.3, tag 274).
STORED = {
    1: RAMP,
    2: RAMP[:, ::-1],
    3: RAMP[::-1, ::-1],
    4: RAMP[::-1],
    5: RAMP.T,
    6: np.rot90(RAMP),
    7: RAMP[::-1, ::-1].T,
    8: np.rot90(RAMP, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_pictures_are_read_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path, stored = tmp_path / f"a{suffix}", np.ascontiguousarray(STORED[orientation])
    if suffix == ".tif":
        tifffile.imwrite(path, stored, photometric="minisblack", extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(stored).save(path, exif=exif, quality=100)
    np.testing.assert_allclose(read_pixels(path)[..., 0], RAMP, atol=12 if suffix == ".jpg" else 0)
    window = (slice(1, 3), slice(2, 5))
    np.testing.assert_array_equal(open_file(path, ndim=2).read(window)[0], read_pixels(path)[1:3, 2:5, 0])
    if suffix == ".png":
        assert np.array_equal(read_mask(path), RAMP)


def test_turning_agrees_with_pillow() -> None:
    for orientation, method in {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.items():
        expected = np.asarray(Image.fromarray(RAMP).transpose(Image.Transpose(method)))
        np.testing.assert_array_equal(upright(RAMP, orientation), expected)


def test_white_as_zero_is_inverted_in_images_and_left_alone_in_masks(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP, photometric="miniswhite")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[..., 0], 255 - RAMP)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), RAMP)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits", "lzma"])
def test_compressed_tiffs_are_read_whole_and_in_windows(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), RGB)
    read = open_file(tmp_path / "a.tif", ndim=2).read((slice(1, 3), slice(2, 5)))
    np.testing.assert_array_equal(read, np.moveaxis(RGB, -1, 0)[:, 1:3, 2:5])


def test_a_jpeg_in_a_tiff_is_red_green_blue(tmp_path: Path) -> None:
    smooth = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], 64, 0) * np.array([1, 0, 1], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", smooth, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    np.testing.assert_allclose(read_pixels(tmp_path / "a.tif"), smooth, atol=8)


@pytest.mark.parametrize("bits", ["group4", "group3"])
def test_fax_compression_is_read(tmp_path: Path, bits: str) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / "a.tif", compression=bits)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), (RAMP > 100).astype(np.uint8))


def test_the_full_image_is_read_and_not_its_thumbnail_or_pyramid(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "thumb.tif") as file:
        file.write(RAMP[::2, ::2], photometric="minisblack")
        file.write(RAMP, photometric="minisblack")
    np.testing.assert_array_equal(read_pixels(tmp_path / "thumb.tif")[..., 0], RAMP)
    large = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif", bigtiff=True) as file:
        file.write(large, subifds=1, tile=(32, 32))
        file.write(large[::2, ::2], subfiletype=1, tile=(32, 32))
    np.testing.assert_array_equal(read_pixels(tmp_path / "pyramid.tif")[..., 0], large)


def test_colors_that_are_not_read_right_are_refused(tmp_path: Path) -> None:
    cmyk = np.dstack([RGB, RAMP])
    tifffile.imwrite(tmp_path / "a.tif", cmyk, photometric="separated")
    with pytest.raises(InputError, match=r"a\.tif: its colors are SEPARATED, which are not read; convert"):
        read_pixels(tmp_path / "a.tif")


def test_opacity_is_left_out_with_a_notice_and_a_fourth_band_is_not(tmp_path: Path) -> None:
    four = np.dstack([RGB, RAMP])
    Image.fromarray(four).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "alpha.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(tmp_path / "bands.tif", four, photometric="minisblack", planarconfig="contig")
    for name in ("a.png", "alpha.tif"):
        with pytest.warns(UserWarning, match="opacity channels of images are left out"):
            np.testing.assert_array_equal(read_pixels(tmp_path / name), RGB)
    np.testing.assert_array_equal(read_pixels(tmp_path / "bands.tif"), four)
    with pytest.raises(InputError, match=r"bands\.tif: 4 channels cannot be converted to rgb.*Bands are not"):
        read_image(tmp_path / "bands.tif", channels="rgb")


def test_pixels_without_data_become_void_in_masks(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 200]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="minisblack", extratags=[(42113, 2, 4, "200", True)])
    assert open_file(tmp_path / "a.tif", ndim=2).nodata == 200
    assert read_mask(tmp_path / "a.tif", void=255).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("name", ["a.NPY", "a.npy", "a.zarr"])
def test_arrays_in_files_are_images_whatever_the_case_of_their_suffix(tmp_path: Path, name: str) -> None:
    import zarr

    if name.endswith("zarr"):
        zarr.create_array(tmp_path / name, data=RGB)
    else:
        with (tmp_path / name).open("wb") as file:
            np.save(file, RGB)
    np.testing.assert_array_equal(read_pixels(tmp_path / name), RGB)


def test_a_prediction_in_capitals_is_of_the_kind_that_its_name_says(tmp_path: Path) -> None:
    model = unetzoo.create("unet", tiny=True).eval()
    image = np.zeros((3, 32, 32), np.float32)
    unetzoo.inference.predict_tiled(model, image, out=tmp_path / "x.NPY", output="labels")
    assert np.load(tmp_path / "x.NPY").shape == (32, 32)


def volume(path: Path, codes: str, kind: type = nibabel.Nifti1Image) -> np.ndarray:
    """Write a volume whose canonical voxels are 0, 1, ... stored along other axes; return the canonical voxels."""
    canonical = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    turned = nibabel.Nifti1Image(canonical, affine).as_reoriented(
        ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    )
    stored = kind(np.asarray(turned.dataobj), turned.affine)
    stored.header.set_xyzt_units("mm", "sec")
    stored.set_qform(turned.affine, code=1)
    stored.set_sform(turned.affine, code=2)
    nibabel.save(stored, path)
    return canonical


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "PIL"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_are_read_in_canonical_orientation_and_written_back_in_their_own(
    tmp_path: Path, codes: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    canonical = volume(path, codes, nibabel.Nifti2Image)
    image = open_file(path, ndim=3)
    np.testing.assert_array_equal(image.read()[0], canonical)
    np.testing.assert_array_equal(image.read((slice(0, 1), slice(1, 3), slice(2, 4)))[0], canonical[:1, 1:3, 2:4])
    labels = (canonical > 11).astype(np.uint8)
    write_labels(labels, tmp_path / "mask.nii.gz", Classes(names=("a", "b")), image.geometry)
    written, source = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(path)
    assert isinstance(written, nibabel.Nifti2Image)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj) > 11)
    np.testing.assert_allclose(written.affine, source.affine)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 2)
    assert written.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(io_orientation(written.affine), io_orientation(source.affine))


def test_a_mask_that_lies_elsewhere_than_its_image_is_refused(tmp_path: Path) -> None:
    volume(tmp_path / "image.nii", "RAS")
    volume(tmp_path / "same.nii", "LPS")
    check_same_place(tmp_path / "image.nii", tmp_path / "same.nii")
    mirrored = np.diag([-1.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), mirrored), tmp_path / "mirrored.nii")
    with pytest.raises(InputError, match=r"mirrored\.nii: the mask lies elsewhere than its image image\.nii: origin"):
        check_same_place(tmp_path / "image.nii", tmp_path / "mirrored.nii")


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3, 4, 1, 1)])
def test_a_single_volume_of_more_axes_is_a_volume(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(shape), np.eye(4)), tmp_path / "a.nii.gz")
    assert read_pixels(tmp_path / "a.nii.gz", ndim=3).shape == (2, 3, 4, 1)


def test_several_volumes_in_a_file_are_channels(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4, 5), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    assert read_pixels(tmp_path / "a.nii.gz", ndim=3).shape == (2, 3, 4, 5)
