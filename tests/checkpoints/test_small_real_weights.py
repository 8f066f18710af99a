"""Small published networks on real data, where the data folder is present.

`UNETZOO_DATA` names a folder with `weights/` (`lwnet_wnet_drive.pth`, `lwnet_big_wnet_*.pth`, `deepbrain_unet3d.pth`)
and `chasedb1/`, the retinal vessels of Fraz et al. (IEEE TBME 2012): `images/`, `vessels_observer1/`, `fov_masks/`.
`UNETZOO_MNI152` names a folder with `MNI152_T1_2mm.nii.gz` and `MNI152_T1_2mm_brain_mask.nii.gz`, the head template of
FSL and its brain, which several neuroimaging packages distribute.
"""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import unetzoo

DATA = Path(os.environ.get("UNETZOO_DATA", ""))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("UNETZOO_DATA" not in os.environ, reason="needs the data folder: set UNETZOO_DATA"),
]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("wnet", "lwnet_wnet_drive.pth"),
        ("wnet_big", "lwnet_big_wnet_drive_av.pth"),
        ("wnet_big", "lwnet_big_wnet_hrf_av_1024.pth"),
        ("deepbrain_unet3d", "deepbrain_unet3d.pth"),
    ],
)
def test_a_published_checkpoint_is_used_to_the_last_tensor(name: str, file: str) -> None:
    model = unetzoo.create(name)
    loaded = unetzoo.load_checkpoint(model, DATA / "weights" / file)
    assert set(loaded.matched) == set(model.state_dict())
    assert not loaded.dropped


def probability(model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Mean over the four flips, as the authors predict."""
    flips = [[], [2], [3], [2, 3]]
    with torch.no_grad():
        return sum(model(image.flip(axes)).sigmoid().flip(axes) for axes in flips) / len(flips)


def test_the_vessel_network_reaches_its_dice_on_photographs_it_never_saw() -> None:
    from PIL import Image

    model = unetzoo.create("wnet", checkpoint=DATA / "weights" / "lwnet_wnet_drive.pth").eval()
    overlap = total = 0
    paths = sorted((DATA / "chasedb1" / "images").glob("*.jpg"))
    assert len(paths) == 28
    for path in paths:
        photograph = Image.open(path).convert("RGB")
        field = np.array(Image.open(DATA / "chasedb1" / "fov_masks" / f"{path.stem}.png").convert("L")) > 127
        truth = Image.open(DATA / "chasedb1" / "vessels_observer1" / f"{path.stem}_1stHO.png").convert("L")
        rows, columns = np.where(field)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        crop = photograph.crop((left, top, right, bottom)).resize((512, 512), Image.Resampling.BILINEAR)
        image = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
        vessels = F.interpolate(probability(model, image), (int(bottom - top), int(right - left)), mode="bilinear")
        inside = field[top:bottom, left:right]
        found = (vessels[0, 0].numpy() > 0.4196) & inside
        drawn = (np.array(truth)[top:bottom, left:right] > 127) & inside
        overlap += 2 * int((found & drawn).sum())
        total += int(found.sum()) + int(drawn.sum())
    # What the authors' code gives for the same protocol.
    assert overlap / total == pytest.approx(0.758, abs=0.002)


def read_volume(path: Path) -> np.ndarray:
    """Read a compressed NIfTI file of 8-bit, 16-bit or float voxels."""
    content = gzip.decompress(path.read_bytes())
    shape = struct.unpack("<8h", content[40:56])[1:4]
    kind = {2: np.uint8, 4: np.int16, 16: np.float32}[struct.unpack("<h", content[70:72])[0]]
    start = int(struct.unpack("<f", content[108:112])[0])
    return np.frombuffer(content, kind, int(np.prod(shape)), start).reshape(shape, order="F").astype(np.float32)


@pytest.mark.skipif("UNETZOO_MNI152" not in os.environ, reason="needs the head template: set UNETZOO_MNI152")
def test_the_brain_network_finds_the_brain_of_the_head_template() -> None:
    folder = Path(os.environ.get("UNETZOO_MNI152", ""))
    head = torch.from_numpy(read_volume(folder / "MNI152_T1_2mm.nii.gz"))[None, None]
    truth = read_volume(folder / "MNI152_T1_2mm_brain_mask.nii.gz") > 0
    model = unetzoo.create("deepbrain_unet3d", checkpoint=DATA / "weights" / "deepbrain_unet3d.pth").eval()
    volume = F.interpolate(head, size=(128, 128, 128), mode="trilinear")
    with torch.no_grad():
        probability = model(volume / volume.max()).sigmoid()
    found = F.interpolate(probability, size=head.shape[2:], mode="trilinear")[0, 0].numpy() > 0.5
    # 0.930 on the Colin-27 head and on another scan with the original graph.
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) == pytest.approx(0.93, abs=0.015)
