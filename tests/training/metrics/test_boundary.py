from __future__ import annotations

import math

import pytest
import torch

from unetzoo.training.metrics import BoundaryF1


def square(top: int, left: int, side: int = 4) -> torch.Tensor:
    mask = torch.zeros(1, 12, 12).long()
    mask[:, top : top + side, left : left + side] = 1
    return mask


def logits(mask: torch.Tensor) -> torch.Tensor:
    return (mask.float() * 2 - 1).unsqueeze(1)


def foreground_score(predicted: torch.Tensor, actual: torch.Tensor, tolerance: float, **options: int) -> float:
    metric = BoundaryF1(1, tolerance=tolerance, **options)
    metric.update(logits(predicted), actual)
    return metric.scores()[1]


def test_the_same_mask_scores_one():
    assert foreground_score(square(4, 4), square(4, 4), 0) == 1


def test_a_shift_by_one_pixel_scores_by_hand_without_tolerance_and_one_with():
    # two 4x4 squares one column apart: 12 boundary pixels each, of which 3 + 3 in the top and bottom rows coincide,
    # and the columns share none: the right column of the left square is inside the other one
    assert foreground_score(square(4, 4), square(4, 5), 0) == pytest.approx(6 / 12)
    assert foreground_score(square(4, 4), square(4, 5), 1) == 1


def test_precision_and_recall_are_combined_by_their_harmonic_mean():
    # the whole 12-pixel ring of the small square is met, of the target's two squares only one: recall 12 / 24
    actual = square(1, 1) | square(7, 7)
    assert foreground_score(square(1, 1), actual, 0) == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_a_class_that_is_missed_scores_zero_and_an_absent_one_is_not_counted():
    assert foreground_score(torch.zeros_like(square(1, 1)), square(1, 1), 2) == 0
    metric = BoundaryF1(1)
    metric.update(logits(square(1, 1)), torch.zeros(1, 12, 12).long())
    assert list(metric.scores()) == [0]


def test_default_tolerance_is_a_share_of_the_diagonal():
    predicted, actual = torch.zeros(1, 96, 96).long(), torch.zeros(1, 96, 96).long()
    predicted[:, 30:60, 30:60] = 1
    actual[:, 30:60, 31:61] = 1  # 0.75 % of the diagonal of 96 x 96 is 1.02 pixels
    metric = BoundaryF1(1)
    metric.update(logits(predicted), actual)
    assert metric.scores()[1] == 1
    metric.reset()
    actual[:, 30:60, 61] = 1
    actual[:, 30:60, 31] = 0
    metric.update(logits(predicted), actual)
    assert metric.scores()[1] < 1


def test_contours_beside_void_are_not_scored():
    actual, predicted = square(4, 4), square(4, 4, side=6)
    predicted[:, 8:] = 0
    actual[:, :, 7] = 0  # rows 4 to 7 and columns 4 to 6: a ring of 10 pixels
    actual[:, :, 8:] = 255  # the prediction runs on into void: its pixels in column 7 are no known contour
    precision, recall = 1, 8 / 10  # columns 5 and 6 of the middle rows: inside the prediction, not on its ring
    expected = 2 * precision * recall / (precision + recall)
    assert foreground_score(predicted, actual, 0, ignore_index=255) == pytest.approx(expected)


def test_mean_is_over_images_first_and_classes_second():
    metric = BoundaryF1(1, tolerance=0)
    metric.update(logits(torch.cat([square(4, 4), square(4, 4)])), torch.cat([square(4, 4), square(4, 5)]))
    assert metric.scores()[1] == pytest.approx((1 + 0.5) / 2)
    assert metric.mean() == pytest.approx(sum(metric.scores().values()) / 2)
    assert math.isnan(BoundaryF1(2).mean())
