"""Affine and elastic deformation of image and labels together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unetzoo.training.augmentation import Affine, Elastic
from unetzoo.training.augmentation.warp import Warp, draw_affine, draw_elastic

IGNORE = 255
SIZES = [(40, 50), (16, 20, 24)]


def positions(count: int, size: tuple[int, ...]) -> Tensor:
    """Images whose channels are each pixel's own coordinates, in the order of the axes."""
    axes = torch.meshgrid(*[torch.arange(float(extent)) for extent in size], indexing="ij")
    return torch.stack(axes).expand(count, -1, *size).clone()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("affine", "elastic"),
    [
        (Affine(degrees=20.0, scale=(0.8, 1.2), translate=0.1), None),
        (None, Elastic(deviation=2.0)),
        (Affine(degrees=10.0), Elastic(deviation=1.0)),
    ],
)
def test_labels_come_from_where_the_image_comes_from_and_are_void_beyond_its_edges(
    size: tuple[int, ...], affine: Affine | None, elastic: Elastic | None
) -> None:
    warp = Warp(affine, elastic, IGNORE)
    torch.manual_seed(0)
    image = positions(4, size)
    for axis in range(len(size)):
        state = torch.get_rng_state()
        moved, labels = warp(image, image[:, axis].long())
        torch.set_rng_state(state)
        known = labels != IGNORE
        assert 0.3 < known.float().mean() < 1
        # Nearest and linear interpolation of the same place differ by half a pixel at most.
        assert (moved[:, axis] - labels)[known].abs().max() <= 0.5 + 1e-3
        assert (moved[:, axis] - image[:, axis]).abs().max() > 1
        assert moved.min() >= 0


def test_enlarging_twice_reads_half_as_far_from_the_center() -> None:
    target = torch.arange(25).reshape(1, 5, 5)
    image, labels = Warp(Affine(scale=(2.0, 2.0)), None, IGNORE)(target[:, None].float(), target)
    # Output columns 0 to 4 read columns 1, 1.5, 2, 2.5 and 3.
    assert image[0, 0, 2].tolist() == [11, 11.5, 12, 12.5, 13]
    assert labels[0, 0, 0] == target[0, 1, 1]
    assert labels[0, 4, 4] == target[0, 3, 3]


def test_shrinking_to_half_mirrors_the_image_and_voids_the_labels_beyond_it() -> None:
    target = torch.arange(25).reshape(1, 5, 5)
    image, labels = Warp(Affine(scale=(0.5, 0.5)), None, IGNORE)(target[:, None].float(), target)
    # Output columns 0 to 4 read columns -2, 0, 2, 4 and 6; -2 is mirrored to 2, 6 to 2.
    assert labels[0, 2].tolist() == [IGNORE, 10, 12, 14, IGNORE]
    assert image[0, 0, 2].tolist() == pytest.approx([12, 10, 12, 14, 12], abs=1e-4)


def test_void_stays_void_and_no_label_is_invented() -> None:
    torch.manual_seed(1)
    target = torch.tensor([3, 200, IGNORE])[torch.randint(3, (2, 30, 30))]
    _, labels = Warp(Affine(degrees=45.0), Elastic(), IGNORE)(torch.rand(2, 1, 30, 30), target)
    assert set(labels.unique().tolist()) == {3, 200, IGNORE}


@pytest.mark.parametrize("size", SIZES)
def test_without_any_range_nothing_moves(size: tuple[int, ...]) -> None:
    image = torch.rand(2, 3, *size)
    target = torch.randint(0, 5, (2, *size))
    moved, labels = Warp(Affine(), None, IGNORE)(image, target)
    torch.testing.assert_close(moved, image, atol=1e-4, rtol=0)
    assert torch.equal(labels, target)


def test_an_elastic_field_is_the_bicubic_interpolation_of_a_coarse_grid_of_normal_vectors() -> None:
    torch.manual_seed(2)
    field = draw_elastic(Elastic(deviation=10.0, grid=3), 2, (33, 47))
    torch.manual_seed(2)
    coarse = torch.randn(2, 2, 3, 3) * 10
    expected = functional.interpolate(coarse, (33, 47), mode="bicubic", align_corners=True)
    torch.testing.assert_close(field.movedim(-1, 1), expected, atol=1e-4, rtol=1e-4)


def test_the_displacements_have_the_deviation_told_in_2d_and_3d() -> None:
    torch.manual_seed(3)
    flat = draw_elastic(Elastic(), 4000, (3, 3))
    assert flat.std().item() == pytest.approx(10, rel=0.02)
    solid = draw_elastic(Elastic(deviation=4.0, grid=2), 1000, (2, 2, 2))
    assert solid.std().item() == pytest.approx(4, rel=0.02)


def test_a_field_in_3d_is_interpolated_along_every_axis() -> None:
    torch.manual_seed(4)
    field = draw_elastic(Elastic(deviation=1.0), 1, (17, 17, 17))[0]
    torch.manual_seed(4)
    coarse = torch.randn(1, 3, 3, 3, 3)[0]
    torch.testing.assert_close(field[::8, ::8, ::8].movedim(-1, 0), coarse, atol=1e-5, rtol=0)
    for axis in range(3):
        assert field.diff(dim=axis).abs().max() < 1


def test_angles_of_volumes_are_about_depth_height_and_width_in_this_order() -> None:
    center = torch.tensor([4.0, 4.0, 4.0])
    for axis, fixed in enumerate((2, 1, 0)):  # positions are width, height, depth
        degrees = [0.0, 0.0, 0.0]
        degrees[axis] = 30.0
        torch.manual_seed(5)
        matrix = draw_affine(Affine(degrees=degrees), 1, (9, 9, 9))[0]
        along = torch.zeros(3)
        along[fixed] = 1
        torch.testing.assert_close(matrix[:3, :3] @ along, along, atol=1e-6, rtol=0)
        torch.testing.assert_close(matrix[:3, :3] @ center + matrix[:3, 3], center, atol=1e-5, rtol=0)
        assert (matrix[:3, :3] - torch.eye(3)).abs().max() > 0.01


def test_only_the_share_told_is_deformed() -> None:
    torch.manual_seed(6)
    matrices = draw_affine(Affine(degrees=30.0, scale=(0.5, 2.0), translate=0.2, probability=0.3), 2000, (8, 8))
    moved = (matrices - torch.eye(3)).abs().amax((1, 2)) > 1e-4
    assert moved.float().mean().item() == pytest.approx(0.3, abs=0.04)
    fields = draw_elastic(Elastic(probability=0.3), 2000, (3, 3))
    assert (fields != 0).flatten(1).any(1).float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_drawn_ranges_are_kept_and_used_up() -> None:
    torch.manual_seed(7)
    matrices = draw_affine(Affine(degrees=30.0, scale=(0.5, 2.0)), 3000, (8, 8))
    scales = torch.linalg.det(matrices[:, :2, :2]).sqrt()
    angles = torch.rad2deg(torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    assert scales.min().item() == pytest.approx(0.5, abs=0.01)
    assert scales.max().item() == pytest.approx(2.0, abs=0.01)
    assert angles.abs().max().item() == pytest.approx(30, abs=0.2)
