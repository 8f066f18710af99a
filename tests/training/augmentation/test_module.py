"""The augmentation of batches: mirrors, turns, colors, and what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from unetzoo.errors import ConfigError, InputError
from unetzoo.training.augmentation import (
    Affine,
    Augmentation,
    AugmentationConfig,
    Color,
    Elastic,
    make_augmentation,
)

EVERYTHING = {
    2: AugmentationConfig(
        flip=["width", "height"],
        turn=True,
        affine=Affine(degrees=20.0, scale=(0.8, 1.2), shear=5.0, translate=0.1),
        elastic=Elastic(deviation=3.0),
        color=Color(brightness=0.2, contrast=0.2, gamma=0.2, saturation=0.2, hue=0.05, noise=0.05),
    ),
    3: AugmentationConfig(
        flip=["width", "height", "depth"],
        turn=True,
        affine=Affine(degrees=[15.0, 5.0, 5.0], scale=(0.9, 1.1), translate=0.1),
        elastic=Elastic(deviation=2.0),
        color=Color(brightness=0.2, contrast=0.2, noise=0.05),
    ),
}


def make(config: AugmentationConfig, ndim: int = 2, *, unit_range: bool = True) -> Augmentation:
    return make_augmentation(config, ndim, 255, unit_range=unit_range)


def batch(ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = (24, 24) if ndim == 2 else (8, 12, 12)
    torch.manual_seed(0)
    return torch.rand(3, 3, *size), torch.randint(0, 4, (3, *size))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_seed_gives_the_same_batch_again_and_another_seed_another(ndim: int) -> None:
    image, target = batch(ndim)
    augment = make(EVERYTHING[ndim], ndim)
    done = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        done.append(augment(image, target))
    assert torch.equal(done[0][0], done[1][0])
    assert torch.equal(done[0][1], done[1][1])
    assert not torch.equal(done[0][0], done[2][0])
    assert done[0][0].shape == image.shape
    assert done[0][1].dtype == torch.int64
    assert set(done[0][1].unique().tolist()) <= {0, 1, 2, 3, 255}


def test_nothing_named_changes_nothing_and_draws_nothing() -> None:
    image, target = batch(2)
    state = torch.get_rng_state()
    moved, labels = make(AugmentationConfig())(image, target)
    assert torch.equal(moved, image)
    assert torch.equal(labels, target)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("config", "ndim", "size", "ways"),
    [
        (AugmentationConfig(flip=["width"]), 2, (2, 3), 2),
        (AugmentationConfig(flip=["height", "width"]), 2, (2, 3), 4),
        (AugmentationConfig(turn=True), 2, (3, 3), 8),
        (AugmentationConfig(flip=["depth", "height", "width"]), 3, (2, 3, 4), 8),
        (AugmentationConfig(flip=["depth"], turn=True), 3, (2, 3, 3), 16),
    ],
)
def test_every_mirroring_and_turn_occurs_and_labels_go_along(
    config: AugmentationConfig, ndim: int, size: tuple[int, ...], ways: int
) -> None:
    labels = torch.arange(torch.Size(size).numel()).reshape(size)
    target = labels.expand(300, *size)
    torch.manual_seed(0)
    image, turned = make(config, ndim)(target[:, None].float(), target)
    assert torch.equal(image[:, 0].long(), turned)
    kinds, counts = turned.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == ways
    assert counts.min() > 0.4 * 300 / ways


def test_flips_go_along_the_axis_that_is_named() -> None:
    target = torch.arange(24).reshape(1, 2, 3, 4).expand(50, 2, 3, 4)
    torch.manual_seed(0)
    for axis, name in ((1, "depth"), (2, "height"), (3, "width")):
        _, turned = make(AugmentationConfig.model_validate({"flip": [name]}), 3)(target[:, None].float(), target)
        other = turned[(turned != target).flatten(1).any(1)]
        assert len(other) > 10
        assert torch.equal(other, target[: len(other)].flip(axis))


@pytest.mark.parametrize("ndim", [2, 3])
def test_colors_change_the_image_alone_and_each_image_in_its_own_way(ndim: int) -> None:
    image, target = batch(ndim)
    same = image[:1].expand_as(image)
    changed, labels = make(AugmentationConfig(color=Color(brightness=0.3, contrast=0.3)), ndim)(same, target)
    assert torch.equal(labels, target)
    assert not torch.equal(changed[0], changed[1])
    assert not torch.equal(changed[0], image[0])


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "saturation", "hue", "noise"])
def test_each_change_of_color_keeps_pictures_in_0_to_1_and_does_something(name: str) -> None:
    image, target = batch(2)
    changed, _ = make(AugmentationConfig(color=Color.model_validate({name: 0.4})))(image, target)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - image).abs().max() > 0.01


def test_images_beyond_0_to_1_are_not_cut_off() -> None:
    image = torch.randn(8, 1, 12, 12) * 3
    target = torch.zeros(8, 12, 12, dtype=torch.long)
    torch.manual_seed(0)
    config = AugmentationConfig(color=Color(brightness=0.5, contrast=0.2))
    changed, _ = make(config, unit_range=False)(image, target)
    centered = changed - changed.mean((1, 2, 3), keepdim=True)
    factors = centered / (image - image.mean((1, 2, 3), keepdim=True))
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(factors), atol=1e-2, rtol=0)
    assert changed.min() < -2


def test_only_the_share_told_changes_color() -> None:
    image = torch.full((2000, 1, 2, 2), 0.5)
    target = torch.zeros(2000, 2, 2, dtype=torch.long)
    torch.manual_seed(0)
    config = AugmentationConfig(color=Color(brightness=0.3, contrast=0.2, noise=0.1, probability=0.25))
    changed, _ = make(config)(image, target)
    share = ((changed - image).abs().amax((1, 2, 3)) > 1e-6).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.04)


def test_no_gradient_is_kept() -> None:
    image, target = batch(2)
    changed, _ = make(EVERYTHING[2])(image.requires_grad_(), target)
    assert not changed.requires_grad


@pytest.mark.parametrize(
    ("config", "ndim", "unit_range", "message"),
    [
        (AugmentationConfig(flip=["depth"]), 2, True, "pictures have no depth"),
        (AugmentationConfig(affine=Affine(degrees=[1.0, 2.0, 3.0])), 2, True, "3 angles for 2-D images"),
        (AugmentationConfig(affine=Affine(degrees=[1.0])), 3, True, "1 angles for 3-D images"),
        (AugmentationConfig(affine=Affine(shear=3.0)), 3, True, "shear: is for pictures"),
        (AugmentationConfig(color=Color(gamma=0.2)), 3, False, "need images in 0 to 1"),
        (AugmentationConfig(color=Color(hue=0.1)), 2, False, "need images in 0 to 1"),
    ],
)
def test_what_does_not_apply_is_refused(config: AugmentationConfig, ndim: int, unit_range: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(config, ndim, unit_range=unit_range)


def test_batches_that_do_not_fit_are_refused() -> None:
    image, target = batch(2)
    with pytest.raises(InputError, match=r"labels \(N, \*spatial\), got \(3, 3, 24, 24\) and \(3, 24, 23\)"):
        make(EVERYTHING[2])(image, target[..., 1:])
    with pytest.raises(InputError, match=r"only square crops can be turned, got \(24, 20\)"):
        make(AugmentationConfig(turn=True))(image[..., 4:], target[..., 4:])
    with pytest.raises(InputError, match="3 channels, got 1"):
        make(AugmentationConfig(color=Color(saturation=0.2)))(image[:, :1], target)


@pytest.mark.parametrize(
    "data",
    [
        {"flips": ["width"]},
        {"flip": ["left"]},
        {"affine": {"scale": [1.2, 0.8]}},
        {"affine": {"scale": [0.0, 1.0]}},
        {"elastic": {"deviation": 0}},
        {"elastic": {"grid": 1}},
        {"color": {"contrast": 1.0}},
        {"color": {"probability": 0.0}},
    ],
)
def test_configs_out_of_range_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AugmentationConfig.model_validate(data)
