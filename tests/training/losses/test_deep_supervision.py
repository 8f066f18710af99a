from __future__ import annotations

import pytest
import torch

from unetzoo.errors import ConfigError, InputError
from unetzoo.training.losses import BorderCrossEntropy, DeepSupervision, make_loss


@pytest.fixture
def outputs() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 1, 8, 6) for _ in range(7)]


@pytest.fixture
def target() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(2, (2, 8, 6))


def test_equal_weights_give_the_plain_sum_of_seven(outputs, target):
    bce = make_loss("bce", num_classes=1)
    total = DeepSupervision(bce, weights="equal")(outputs, target)
    assert total.item() == pytest.approx(sum(bce(output, target).item() for output in outputs), rel=1e-6)


def test_halving_weights_are_those_of_nnunet(outputs, target):
    # four outputs: 1, 1/2, 1/4, 1/8 over their sum of 15/8
    supervised = DeepSupervision(make_loss("bce", num_classes=1), weights="halving")
    assert supervised.weights(4) == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])
    assert sum(supervised.weights(7)) == pytest.approx(1)


def test_coarsest_output_can_be_left_out(outputs, target):
    supervised = DeepSupervision(make_loss("bce", num_classes=1), weights="halving", skip_coarsest=True)
    assert supervised.weights(4) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    last = outputs[3].clone().requires_grad_()
    supervised([*outputs[:3], last], target)
    assert supervised([*outputs[:3], last], target).item() == pytest.approx(
        supervised([*outputs[:3], last * 5], target).item()
    )


def test_one_tensor_is_passed_to_the_loss_as_it_is(outputs, target):
    bce = make_loss("bce", num_classes=1)
    assert DeepSupervision(bce, weights="halving")(outputs[0], target).equal(bce(outputs[0], target))


def test_smaller_outputs_meet_the_target_at_their_own_size():
    target = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [255, 255, 0, 0], [255, 255, 0, 0]]])
    small = torch.tensor([[[0, 1], [255, 0]]])
    logits = torch.randn(1, 2, 2, 2)
    loss = make_loss("cross_entropy", num_classes=2, ignore_index=255)
    assert DeepSupervision(loss)([logits], target).equal(loss(logits, small))


def test_weight_maps_are_resampled_with_the_target():
    target = torch.tensor([[[0, 0, 1, 1]] * 4])
    weights = torch.tensor([[[1.0, 1.0, 3.0, 3.0]] * 4])
    logits = torch.randn(1, 2, 2, 2)
    loss = BorderCrossEntropy(2)
    expected = loss(logits, target[:, ::2, ::2], weights[:, ::2, ::2])
    assert DeepSupervision(loss)([logits], target, weights).equal(expected)


def test_volumes_are_supervised_too():
    target = torch.randint(2, (1, 4, 4, 4))
    outputs = [torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 2, 2, 2)]
    loss = make_loss({"dice": 1, "cross_entropy": 1}, num_classes=2)
    expected = 0.75 * loss(outputs[0], target) + 0.25 * loss(outputs[1], target[:, 1::2, 1::2, 1::2])
    assert DeepSupervision(loss, weights=[0.75, 0.25])(outputs, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("weights", ["quartering", [-1.0, 2.0], [0.0, 0.0]])
def test_weights_without_meaning_are_refused(weights):
    with pytest.raises(ConfigError, match="expected"):
        DeepSupervision(make_loss("bce", num_classes=1), weights=weights)


def test_a_number_of_weights_other_than_of_outputs_is_refused(outputs, target):
    with pytest.raises(InputError, match="2 weights were given for 7 outputs"):
        DeepSupervision(make_loss("bce", num_classes=1), weights=[1, 2])(outputs, target)
