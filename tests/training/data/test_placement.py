"""Spacing and orientation of volumes, as their headers say."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from unetzoo.training.data import DataConfig, load_data


@pytest.mark.parametrize(("spacing", "expected"), [((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)), ((1.0, 2.0, 4.0), None)])
def test_what_all_volumes_share_is_kept(spacing: tuple[float, ...], expected: object, tmp_path: Path) -> None:
    for name, edges in (("a", (1.0, 2.0, 3.0)), ("b", spacing)):
        affine = np.diag([-edges[0], *edges[1:], 1.0])
        for folder, volume in (("images", np.eye(4)[None].repeat(3, 0)), ("masks", np.eye(4)[None].repeat(3, 0))):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = nibabel.nifti1.Nifti1Image(volume.astype(np.uint8), affine)
            nibabel.nifti1.save(image, tmp_path / folder / f"{name}.nii.gz")
    data = load_data(DataConfig.parse({"root": tmp_path, "ndim": 3, "classes": ["a", "b"], "splits": {"train": 1.0}}))
    assert data.preprocessing.spacing == expected
    assert data.preprocessing.orientation == "LAS"
