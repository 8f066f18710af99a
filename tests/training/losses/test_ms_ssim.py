from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from unetzoo.errors import InputError
from unetzoo.training.losses import MultiScaleSSIMLoss
from unetzoo.training.losses.ms_ssim import ms_ssim


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    first = torch.rand(shape)
    return first, (first + 0.2 * torch.rand(shape)).clamp(0, 1)


def test_five_scales_equal_those_of_torchmetrics():
    first, second = pair(2, 1, 176, 192)
    reference = multiscale_structural_similarity_index_measure(first, second, data_range=1.0, reduction="none")
    torch.testing.assert_close(ms_ssim(first, second), reference, rtol=1e-4, atol=1e-5)


def test_small_images_get_the_scales_that_fit():
    first, second = pair(2, 1, 16, 40)  # one scale: plain SSIM to the power of the weights' sum
    single = structural_similarity_index_measure(first, second, data_range=1.0, reduction="none")
    torch.testing.assert_close(ms_ssim(first, second), single**1.0001, rtol=1e-5, atol=1e-6)


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_most():
    target = torch.zeros(1, 24, 24).long()
    target[:, 6:18, 6:18] = 1
    logits = (target.float() * 2 - 1).unsqueeze(1) * 100
    loss = MultiScaleSSIMLoss(1)
    assert loss(logits, target).item() == pytest.approx(0, abs=1e-5)
    assert loss(-logits, target).item() > 0.5


def test_gradients_stay_finite_where_the_contrast_term_is_negative():
    target = (torch.arange(24) % 2).repeat(1, 24, 1)
    logits = ((1 - target.float()) * 8 - 4).unsqueeze(1).requires_grad_()  # the inverse pattern: contrast below zero
    MultiScaleSSIMLoss(1)(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


def test_ignored_pixels_get_no_gradient():
    torch.manual_seed(0)
    target = torch.randint(3, (1, 32, 32))
    target[:, :, 20:] = 255
    logits = torch.randn(1, 3, 32, 32, requires_grad=True)
    MultiScaleSSIMLoss(3, ignore_index=255)(logits, target).backward()
    assert logits.grad[..., 20:].abs().max() == 0
    assert logits.grad[..., :20].abs().max() > 0


def test_volumes_are_scored():
    first, second = pair(1, 1, 12, 14, 16)
    assert ms_ssim(first, first).item() == pytest.approx(1, abs=1e-5)
    assert 0 < ms_ssim(first, second).item() < 1


def test_images_under_the_window_are_refused():
    with pytest.raises(InputError, match="under the 11 pixels"):
        ms_ssim(torch.rand(1, 1, 10, 30), torch.rand(1, 1, 10, 30))
