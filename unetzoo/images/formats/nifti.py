"""NIfTI-1 and NIfTI-2 volumes, read in canonical orientation (RAS+) and written back in the file's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unetzoo.errors import InputError
from unetzoo.images.image import Array, Geometry, Image, Role

SUFFIXES = (".nii", ".nii.gz")
TOLERANCE = 1e-3
"""Largest difference of two affines, relative to the voxel size, that are taken to be the same."""


def open(path: Path, ndim: int, role: Role) -> Image:
    """Open a volume; an uncompressed one in canonical orientation is read in windows, others whole."""
    import nibabel

    stored = nibabel.load(path)
    if not isinstance(stored, nibabel.spatialimages.SpatialImage):
        raise InputError(f"{path}: expected a volume, got {type(stored).__name__}")
    shape = stored.shape
    if len(shape) < 3 or any(length != 1 for length in shape[4:]):
        raise InputError(f"{path}: expected a volume, with or without channels, got shape {shape}")
    if ndim == 2:
        raise InputError(f"{path}: expected a 2-D image, got a volume of shape {shape}; set ndim to 3")
    canonical = nibabel.as_closest_canonical(stored)
    pixels = canonical.dataobj
    single = all(length == 1 for length in shape[3:])
    if path.name.lower().endswith(".gz") or canonical is not stored or (single and len(shape) > 3):
        # A compressed file can only be read from its beginning, axes in another order only as a whole.
        pixels = np.asanyarray(pixels)
        pixels = pixels.reshape(pixels.shape[:3] if single else pixels.shape[:4])
    return Image(pixels, "none" if len(pixels.shape) == 3 else "last", read_geometry(path))


def read_geometry(path: Path) -> Geometry:
    """Return the place of a volume from its header."""
    import nibabel

    stored: Any = nibabel.load(path)
    canonical = nibabel.as_closest_canonical(stored)
    return Geometry(affine=np.asarray(canonical.affine), nifti=(stored.header.copy(), np.asarray(stored.affine)))


def save(labels: Array, path: Path, geometry: Geometry) -> None:
    """Write labels (*spatial) in the orientation, affine, codes and units of the volume that they belong to."""
    import nibabel
    from nibabel import orientations

    if geometry.nifti is None:
        affine = np.eye(4) if geometry.affine is None else geometry.affine
        nibabel.save(nibabel.nifti1.Nifti1Image(labels, affine), path)
        return
    header, affine = geometry.nifti
    back = orientations.ornt_transform(
        orientations.io_orientation(geometry.affine), orientations.io_orientation(affine)
    )
    stored = np.ascontiguousarray(orientations.apply_orientation(labels, back))
    kind = nibabel.nifti2.Nifti2Image if isinstance(header, nibabel.nifti2.Nifti2Header) else nibabel.nifti1.Nifti1Image
    written = kind(stored, affine, header)
    written.set_data_dtype(labels.dtype)
    written.header["scl_slope"], written.header["scl_inter"] = np.nan, np.nan
    written.header["cal_max"] = written.header["cal_min"] = 0
    nibabel.save(written, path)


def differences(image: Geometry, mask: Geometry) -> str:
    """What differs between the places of an image and its mask; empty if nothing does, or one has none."""
    if image.affine is None or mask.affine is None:
        return ""
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    found = []
    if np.abs(image.affine[:3, :3] - mask.affine[:3, :3]).max() > TOLERANCE * edges.max():
        found.append(f"axes {np.round(image.affine[:3, :3], 3).tolist()}, {np.round(mask.affine[:3, :3], 3).tolist()}")
    if np.abs(image.affine[:3, 3] - mask.affine[:3, 3]).max() > 0.1 * edges.min():
        found.append(f"origin {np.round(image.affine[:3, 3], 3).tolist()}, {np.round(mask.affine[:3, 3], 3).tolist()}")
    return "; ".join(found)
