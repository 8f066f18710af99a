from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unetzoo.errors import InputError
from unetzoo.training.losses import BorderCrossEntropy, border_weight_map


def two_squares(gap: int) -> np.ndarray:
    instances = np.zeros((9, 12 + gap), dtype=np.int32)
    instances[3:6, 3:6] = 1
    instances[3:6, 6 + gap : 9 + gap] = 2
    return instances


def test_border_term_is_the_formula_of_the_paper_at_hand_computed_distances():
    weights = border_weight_map(two_squares(3), balance_classes=False)
    # the middle column of the gap is 2 pixels from either object, its neighbors 1 and 3 pixels
    for column in (6, 7, 8):
        assert weights[4, column] == pytest.approx(1 + 10 * np.exp(-(4**2) / (2 * 5**2)), rel=1e-6)
    # row 2 above column 7: each object is at distance sqrt(2^2 + 1^2)
    assert weights[2, 7] == pytest.approx(1 + 10 * np.exp(-((2 * np.sqrt(5)) ** 2) / 50), rel=1e-6)


def test_border_term_is_absent_inside_objects_and_with_a_single_object():
    instances = two_squares(1)
    assert np.all(border_weight_map(instances, balance_classes=False)[instances > 0] == 1)
    assert np.all(border_weight_map((instances == 1).astype(np.int64), balance_classes=False) == 1)


def test_distances_equal_a_brute_force_search():
    rng = np.random.default_rng(0)
    instances = np.zeros((14, 15), dtype=np.int64)
    for label in range(1, 5):
        row, column = rng.integers(0, 12, 2)
        instances[row : row + 2, column : column + 3] = label
    weights = border_weight_map(instances, w0=7, sigma=2, balance_classes=False)
    for row, column in np.argwhere(instances == 0):
        distances = sorted(
            np.sqrt(((np.argwhere(instances == label) - (row, column)) ** 2).sum(1)).min()
            for label in np.unique(instances[instances > 0])
        )
        expected = 1 + 7 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 2**2))
        assert weights[row, column] == pytest.approx(expected, rel=1e-5)


def test_class_balance_gives_foreground_and_background_the_same_total_and_a_mean_of_one():
    instances = (two_squares(2) == 1).astype(np.int64)
    weights = border_weight_map(instances)
    assert weights[instances == 1].sum() == pytest.approx(weights[instances == 0].sum(), rel=1e-6)
    assert weights.mean() == pytest.approx(1, rel=1e-6)


def test_ignored_pixels_weigh_nothing_and_are_no_object():
    instances = two_squares(2)
    instances[0, :] = 255
    weights = border_weight_map(instances, ignore_index=255)
    without = border_weight_map(instances[1:])
    assert np.all(weights[0] == 0)
    np.testing.assert_allclose(weights[1:], without, rtol=1e-6)


def test_volumes_get_the_same_weights_along_every_axis():
    plane = two_squares(2)
    volume = np.zeros((9, 9, plane.shape[1]), dtype=np.int64)
    volume[4] = plane
    weights = border_weight_map(volume, balance_classes=False)
    flat = border_weight_map(plane, balance_classes=False)
    np.testing.assert_allclose(weights[4], flat, rtol=1e-6)
    np.testing.assert_allclose(weights, border_weight_map(volume.swapaxes(0, 1), balance_classes=False).swapaxes(0, 1))


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros(5, dtype=int)])
def test_other_than_integer_images_are_refused(bad):
    with pytest.raises(InputError, match="expected integers"):
        border_weight_map(bad)


def test_weighted_cross_entropy_is_the_weighted_mean_of_the_pixels():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    weights = torch.rand(2, 4, 5)
    loss = BorderCrossEntropy(3)(logits, target, weights)
    per_pixel = F.cross_entropy(logits, target, reduction="none")
    assert loss.item() == pytest.approx(((weights * per_pixel).sum() / weights.sum()).item(), rel=1e-6)


@pytest.mark.parametrize("num_classes", [1, 2])
def test_map_is_computed_from_touching_components_where_none_is_given(num_classes):
    target = torch.from_numpy(np.stack([two_squares(1), two_squares(1)]) > 0).long()
    logits = torch.randn(2, num_classes, *target.shape[1:])
    loss = BorderCrossEntropy(num_classes)
    expected = torch.from_numpy(border_weight_map(two_squares(1)))
    assert torch.equal(loss.weight_map(target)[0], expected)
    assert loss(logits, target).item() == pytest.approx(loss(logits, target, expected.expand(2, -1, -1)).item())


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(InputError, match="weight_map has shape"):
        BorderCrossEntropy(2)(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4).long(), torch.ones(1, 4, 5))
