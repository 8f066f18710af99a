from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from unetzoo.errors import InputError
from unetzoo.training.losses import MultiScaleSSIMLoss
from unetzoo.training.losses.ms_ssim import SCALE_WEIGHTS, ms_ssim


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    first = torch.rand(shape)
    return first, (first + 0.2 * torch.rand(shape)).clamp(0, 1)


def test_scale_weights_are_those_of_wang_and_sum_to_one():
    assert SCALE_WEIGHTS == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert sum(SCALE_WEIGHTS) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize(("shortest", "scales"), [(16, 2), (43, 2), (44, 3), (99, 4), (175, 4), (176, 5)])
def test_images_get_the_scales_that_fit_by_the_product_of_single_scale_terms(shortest, scales):
    first, second = pair(2, 1, shortest, 180)
    weights = torch.tensor(SCALE_WEIGHTS[:scales])
    weights *= sum(SCALE_WEIGHTS) / weights.sum()
    score = ms_ssim(first, second)
    expected = torch.ones(2)
    for scale, weight in enumerate(weights):
        similarity, contrast = structural_similarity_index_measure(
            first, second, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        expected *= (similarity if scale == scales - 1 else contrast) ** weight
        first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-6)


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
