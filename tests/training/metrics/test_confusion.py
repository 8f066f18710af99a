from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from unetzoo.errors import InputError
from unetzoo.training.metrics import ConfusionMatrix

# target 0 0 1 1 / 2 2 255 1, prediction 0 1 1 1 / 2 0 2 3, both of one image of 2 x 4 pixels with four classes
TARGET = torch.tensor([[[0, 0, 1, 1], [2, 2, 255, 1]]])
PREDICTED = torch.tensor([[[0, 1, 1, 1], [2, 0, 2, 3]]])


def logits_of(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    return F.one_hot(labels, num_classes).movedim(-1, 1).float()


@pytest.fixture
def scored() -> ConfusionMatrix:
    matrix = ConfusionMatrix(4, ignore_index=255)
    matrix.update(logits_of(PREDICTED, 4), TARGET)
    return matrix


def test_matrix_counts_true_classes_in_rows_without_void(scored):
    assert scored.matrix().tolist() == [[1, 1, 0, 0], [0, 2, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_scores_equal_those_by_hand_over_the_classes_present(scored):
    scores = scored.scores()
    assert scores.present == [0, 1, 2]  # class 3 is predicted once, but no target pixel holds it
    assert scores.iou == pytest.approx({0: 1 / 3, 1: 2 / 4, 2: 1 / 2})
    assert scores.dice == pytest.approx({0: 2 / 4, 1: 4 / 6, 2: 2 / 3})
    assert scores.mean_iou == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert scores.mean_dice == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    assert scores.pixel_accuracy == pytest.approx(4 / 7)


def test_scores_are_of_the_split_and_not_a_mean_over_batches(scored):
    more = torch.tensor([[[0, 0, 0, 0], [0, 0, 0, 1]]])
    scored.update(logits_of(torch.zeros_like(more), 4), more)
    assert scored.scores().iou == pytest.approx({0: 8 / 11, 1: 2 / 5, 2: 1 / 2})


def test_labels_count_like_logits(scored):
    matrix = ConfusionMatrix(4, ignore_index=255)
    matrix.update_labels(PREDICTED, TARGET)
    assert matrix.matrix().equal(scored.matrix())


def test_one_output_is_cut_at_a_logit_of_zero():
    matrix = ConfusionMatrix(1)
    matrix.update(torch.tensor([[[[-1.0, 0.1, 2.0, -3.0]]]]), torch.tensor([[[0, 1, 0, 1]]]))
    assert matrix.matrix().tolist() == [[1, 1], [1, 1]]


def test_volumes_and_a_reset_are_counted_right(scored):
    scored.reset()
    target = torch.randint(4, (2, 3, 4, 5))
    scored.update(logits_of(target, 4), target)
    assert scored.matrix().diagonal().sum() == target.numel()
    assert scored.scores().mean_iou == 1


def test_nothing_but_void_has_no_score():
    matrix = ConfusionMatrix(3, ignore_index=255)
    matrix.update(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255))
    assert matrix.scores().present == []
    assert math.isnan(matrix.scores().mean_iou)


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="expected 0 to 2"):
        ConfusionMatrix(3).update(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3))
    with pytest.raises(InputError, match="expected the same"):
        ConfusionMatrix(3).update_labels(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long())
