"""The losses and scores of the write-ups on fixed inputs; the numbers in losses.json came from their own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from unetzoo.training.losses import FBetaLoss, make_loss
from unetzoo.training.metrics import ConfusionMatrix, smoothed_batch_iou

GOLDEN = Path(__file__).parents[2] / "golden"
EXPECTED = json.loads((GOLDEN / "losses.json").read_text())


@pytest.fixture
def logits(golden_image) -> torch.Tensor:
    return golden_image((2, 22, 24, 20), "losses.logits").double()


@pytest.fixture
def labels(golden_image) -> torch.Tensor:
    return (golden_image((2, 24, 20), "losses.labels").abs() * 4).long().clamp(0, 21)


@pytest.fixture
def binary(golden_image) -> tuple[torch.Tensor, torch.Tensor]:
    logits = golden_image((2, 1, 24, 20), "losses.binary").double()
    return logits, (golden_image((2, 1, 24, 20), "losses.binary_target") > 0.3).long()


def test_labels_hold_the_classes_that_the_golden_file_lists(labels):
    assert labels.unique().tolist() == EXPECTED["classes_present"]


@pytest.mark.parametrize("beta", [1, 2])
def test_f_beta_loss_equals_the_write_ups_dice(logits, labels, beta):
    loss = FBetaLoss(22, beta=beta)(logits, labels)
    assert loss.item() == pytest.approx(EXPECTED[f"dice_loss_beta{beta}"], abs=1e-9)


def test_cross_entropy_equals_the_golden_number(logits, labels):
    loss = make_loss("cross_entropy", num_classes=22)(logits, labels)
    assert loss.item() == pytest.approx(EXPECTED["cross_entropy"], abs=1e-9)


def test_sum_of_dice_and_cross_entropy_equals_the_golden_number(logits, labels):
    loss = make_loss({"f_beta": 1, "cross_entropy": 1}, num_classes=22)(logits, labels)
    assert loss.item() == pytest.approx(EXPECTED["dice_plus_ce"], abs=1e-9)


def test_bce_with_soft_iou_equals_the_golden_number(binary):
    loss = make_loss("bce_soft_iou", num_classes=1)(*binary)
    assert loss.item() == pytest.approx(EXPECTED["bce_plus_one_minus_soft_iou"], abs=1e-8)


def test_smoothed_batch_score_equals_the_golden_number(logits, labels):
    score = smoothed_batch_iou(logits, labels)
    assert score == pytest.approx(EXPECTED["soft_batch_miou_smoothed"], abs=1e-9)


def test_smoothed_score_calls_a_useless_prediction_nearly_perfect_and_the_honest_one_does_not(labels):
    two_classes = (labels > 3).long()
    useless = F.one_hot(torch.zeros_like(labels), 22).movedim(-1, 1).double() * 1000  # softmax gives exactly 0 and 1
    perfect = F.one_hot(two_classes, 22).movedim(-1, 1).double() * 1000
    flattering = EXPECTED["soft_batch_miou_two_classes_present"]
    assert smoothed_batch_iou(perfect, two_classes) == pytest.approx(flattering["perfect"], abs=1e-9)
    assert smoothed_batch_iou(useless, two_classes) == pytest.approx(flattering["all_class_0"], abs=1e-9)

    matrix = ConfusionMatrix(22)
    matrix.update(useless, two_classes)
    scores, honest = matrix.scores(), EXPECTED["honest_miou_all_class_0"]
    assert len(scores.present) == honest["present_classes"]
    assert scores.iou[0] == pytest.approx(honest["iou_class_0"], abs=1e-6)
    assert scores.mean_iou == pytest.approx(honest["miou_over_present"], abs=1e-6)


def test_iou_and_dice_of_the_thresholded_prediction_equal_the_golden_numbers(binary):
    matrix = ConfusionMatrix(1)
    matrix.update(*binary)
    scores = matrix.scores()
    assert scores.iou[1] == pytest.approx(EXPECTED["hard_iou_at_half"], abs=1e-8)
    assert scores.iou[1] == pytest.approx(EXPECTED["iou_dice_identity"]["iou"], abs=1e-7)
    assert scores.dice[1] == pytest.approx(EXPECTED["iou_dice_identity"]["dice"], abs=1e-7)
    assert scores.dice[1] / (2 - scores.dice[1]) == pytest.approx(scores.iou[1], abs=1e-12)
