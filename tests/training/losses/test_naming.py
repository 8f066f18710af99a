from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss

from unetzoo.errors import ConfigError, InputError, UnknownNameError
from unetzoo.training.losses import list_losses, make_loss

INDEXED = [name for name in list_losses() if name not in ("mse", "l1")]
BINARY = [name for name in INDEXED if name != "cross_entropy"]
MULTICLASS = [name for name in INDEXED if not name.startswith("bce")]
CASES = [(name, 1) for name in BINARY] + [(name, 3) for name in MULTICLASS]


def sample(num_classes: int, *size: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, num_classes, *size), torch.randint(max(2, num_classes), (2, *size))


def test_mixture_is_the_weighted_sum_of_its_parts():
    logits, target = sample(4, 9, 7)
    mixture = make_loss({"dice": 2, "cross_entropy": {"weight": 0.5, "label_smoothing": 0.1}}, num_classes=4)
    expected = 2 * DiceLoss("multiclass")(logits, target)
    expected += 0.5 * F.cross_entropy(logits, target, label_smoothing=0.1)
    assert mixture(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(mixture.parts(logits, target)) == {"dice", "cross_entropy"}


@pytest.mark.parametrize(("name", "num_classes"), CASES)
@pytest.mark.parametrize("size", [(16, 13), (12, 14, 13)])
def test_every_loss_trains_in_two_and_three_dimensions(name, num_classes, size):
    logits, target = sample(num_classes, *size)
    loss = make_loss(name, num_classes=num_classes)
    right = F.one_hot(target).movedim(-1, 1)[:, -num_classes:]
    logits = (logits + 2 * right).requires_grad_()  # a little better than chance, or ms_ssim is flat
    before = loss(logits, target)
    before.backward()
    after = loss(logits.detach() - 10 * logits.grad / logits.grad.norm(), target)
    assert after < before


@pytest.mark.parametrize(("name", "num_classes"), CASES)
def test_ignored_pixels_have_no_say(name, num_classes):
    logits, target = sample(num_classes, 16, 24)
    target[:, :, 12:] = 255
    loss = make_loss(name, num_classes=num_classes, ignore_index=255)
    altered = logits.clone()
    altered[..., 12:] = torch.randn(altered[..., 12:].shape) * 5
    torch.testing.assert_close(loss(altered, target), loss(logits, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "num_classes"), [case for case in CASES if case[0] not in ("ms_ssim", "unet3plus")])
def test_loss_with_a_void_half_equals_that_of_the_other_half_alone(name, num_classes):
    logits, target = sample(num_classes, 16, 24)
    void = target.clone()
    void[:, :, 12:] = 255
    whole = make_loss(name, num_classes=num_classes, ignore_index=255)(logits, void)
    half = make_loss(name, num_classes=num_classes)(logits[..., :12], target[..., :12])
    torch.testing.assert_close(whole, half, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "num_classes"), CASES)
def test_a_batch_of_void_alone_gives_no_gradient_and_no_nan(name, num_classes):
    logits, target = sample(num_classes, 16, 13)
    logits.requires_grad_()
    loss = make_loss(name, num_classes=num_classes, ignore_index=255)(logits, torch.full_like(target, 255))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad.abs().max() < 1e-6


def test_void_alone_adds_up_in_a_mixture():
    loss = make_loss({"lovasz": 1, "cross_entropy": 1}, num_classes=3, ignore_index=255)
    assert loss(torch.randn(1, 3, 4, 4), torch.full((1, 4, 4), 255)) == 0


@pytest.mark.parametrize("name", ["dice", "jaccard", "bce", "tversky"])
def test_multilabel_targets_have_the_shape_of_the_logits(name):
    logits = torch.randn(2, 3, 8, 8)
    target = torch.randint(2, (2, 3, 8, 8))
    loss = make_loss(name, num_classes=3, mode="multilabel")
    assert loss((target * 2.0 - 1) * 50, target).item() == pytest.approx(0, abs=1e-5)
    assert loss(logits, target) > 0.1


def test_focal_loss_without_focus_is_cross_entropy():
    logits, target = sample(5, 8, 8)
    focal = make_loss({"focal": {"gamma": 0}}, num_classes=5)(logits, target)
    assert focal.item() == pytest.approx(F.cross_entropy(logits, target).item(), rel=1e-5)


def test_focal_loss_is_the_formula_of_the_paper():
    logits, target = sample(1, 8, 8)
    probability = torch.where(target == 1, logits[:, 0].sigmoid(), 1 - logits[:, 0].sigmoid())
    expected = (-((1 - probability) ** 2) * probability.log()).mean()
    assert make_loss("focal", num_classes=1)(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_average_as_in_torch():
    logits, target = sample(3, 8, 8)
    weights = [0.2, 1.0, 3.0]
    loss = make_loss({"cross_entropy": {"class_weights": weights}}, num_classes=3)(logits, target)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, target, torch.tensor(weights)).item(), rel=1e-6)


def test_positive_weight_counts_positive_pixels_more():
    logits, target = sample(1, 8, 8)
    loss = make_loss({"bce": {"pos_weight": 4.0}}, num_classes=1)(logits, target)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], target.float(), pos_weight=torch.tensor(4.0))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("name", "reference"), [("mse", F.mse_loss), ("l1", F.l1_loss)])
def test_regression_compares_values_of_the_same_shape(name, reference):
    output, target = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    assert make_loss(name, num_classes=3)(output, target).item() == pytest.approx(reference(output, target).item())


def test_a_channel_axis_of_one_is_accepted_in_targets():
    logits, target = sample(1, 8, 8)
    loss = make_loss("bce_dice", num_classes=1)
    assert loss(logits, target.unsqueeze(1).float()).equal(loss(logits, target))


def test_weight_map_reaches_the_loss_that_takes_one():
    logits, target = sample(2, 8, 8)
    weights = torch.rand(2, 8, 8)
    mixture = make_loss({"border_cross_entropy": 1, "dice": 1}, num_classes=2)
    per_pixel = F.cross_entropy(logits, target, reduction="none")
    expected = (per_pixel * weights).sum() / weights.sum() + DiceLoss("multiclass")(logits, target)
    assert mixture(logits, target, weights).item() == pytest.approx(expected.item(), rel=1e-6)


def test_unknown_loss_names_the_nearest_spelling():
    with pytest.raises(UnknownNameError, match=r"cross_entropie.*cross_entropy"):
        make_loss({"cross_entropie": 1}, num_classes=2)


@pytest.mark.parametrize(
    ("spec", "num_classes", "message"),
    [
        ({}, 2, "expected a name or a mapping"),
        ({"dice": 0}, 2, "above zero"),
        ({"dice": "much"}, 2, "above zero"),
        ({"dice": {"smoth": 1}}, 2, "smoth: unknown option; did you mean 'smooth'"),
        ({"bce": 1}, 3, "no meaning in mode 'multiclass'"),
        ({"cross_entropy": 1}, 1, "no meaning in mode 'binary'"),
        ({"bce_dice": 1, "dice": 1}, 1, "named twice"),
    ],
)
def test_a_mixture_that_cannot_be_meant_is_refused(spec, num_classes, message):
    with pytest.raises(ConfigError, match=message):
        make_loss(spec, num_classes=num_classes)


def test_targets_that_do_not_fit_the_logits_are_refused():
    loss = make_loss("cross_entropy", num_classes=3, ignore_index=255)
    with pytest.raises(InputError, match=r"need \(2, 8, 8\)"):
        loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 9).long())
    with pytest.raises(InputError, match=r"expected \(N, 3, \*spatial\)"):
        loss(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8).long())
    with pytest.raises(InputError, match="from 0 to 3; expected 0 to 2 or ignore_index=255"):
        loss(torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 3], [255, 1]]]))
