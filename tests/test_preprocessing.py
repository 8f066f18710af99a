"""From raw images to what a model takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from unetzoo import InputError, Preprocessing
from unetzoo.preprocessing import Statistics

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
IMAGENET = Preprocessing(channels="rgb", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_each_image_of_a_batch_gets_zero_mean_and_unit_deviation() -> None:
    images = torch.randn(3, 2, 5, 6) * torch.tensor([0.1, 1.0, 500.0]).view(3, 1, 1, 1) + 7
    done = Preprocessing(per_image=True).normalize(images)
    torch.testing.assert_close(done.mean((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(done.square().mean((1, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, 12345.678])
def test_an_image_of_one_value_stays_near_zero(value: float) -> None:
    assert Preprocessing(per_image=True).normalize(torch.full((1, 3, 64, 64), value)).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(1, 2, 3, 3), (1, 2, 3, 3, 3)])
def test_fixed_means_and_deviations_are_of_the_channels(shape: tuple[int, ...]) -> None:
    done = Preprocessing(mean=(1, 2), std=(2, 4)).normalize(torch.full(shape, 5.0))
    assert done.flatten(2)[0, :, 0].tolist() == [2.0, 0.75]


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(InputError, match="for 3 channels got images of 1"):
        IMAGENET.normalize(torch.zeros(1, 1, 4, 4))
    with pytest.raises(InputError, match="5 channels cannot be converted to rgb"):
        IMAGENET(np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(InputError, match="has 3 channels; expected 4: red, green, blue, infrared"):
        Preprocessing(channels=("red", "green", "blue", "infrared"))(PIXELS)


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        Image.fromarray(PIXELS),
        PIXELS.astype(np.float64) / 255,
        Image.fromarray(np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])),
        PIXELS.astype(np.uint16) * 257,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1)[None] / 255,
    ],
    ids=["array", "picture", "float", "with opacity", "16 bit", "tensor", "batch"],
)
def test_every_form_of_an_image_gives_the_same_tensor(image: object) -> None:
    expected = (PIXELS / 255 - IMAGENET.mean) / IMAGENET.std
    torch.testing.assert_close(
        IMAGENET(image), torch.from_numpy(expected).permute(2, 0, 1)[None].float(), atol=1e-6, rtol=1e-6
    )


def test_gray_images_become_three_channels_and_color_images_gray() -> None:
    rgb = Preprocessing(channels="rgb")(np.array([[51, 255]], np.uint8))
    assert rgb.shape == (1, 3, 1, 2)
    assert rgb[0, :, 0, 0].tolist() == pytest.approx([0.2] * 3)
    by_pillow = np.asarray(Image.fromarray(PIXELS).convert("L"))
    np.testing.assert_allclose(Preprocessing(channels="gray")(PIXELS)[0, 0], by_pillow / 255, atol=0.5 / 255 + 1e-6)


def test_blue_comes_first_and_values_lie_in_the_range_that_the_weights_expect() -> None:
    caffe = Preprocessing(channels="bgr", input_range=(0, 255), mean=(104, 117, 123), std=(1, 1, 1))
    done = caffe(np.array([[[10, 20, 30]]], np.uint8))
    assert done[0, :, 0, 0].tolist() == pytest.approx([30 - 104, 20 - 117, 10 - 123], abs=1e-4)
    road = Preprocessing(channels="bgr", input_range=(-1.6, 1.6))
    assert road(np.array([[[255, 0, 51]]], np.uint8))[0, :, 0, 0].tolist() == pytest.approx([-0.96, -1.6, 1.6])


def test_an_image_is_divided_by_its_own_maximum() -> None:
    salient = Preprocessing(channels="rgb", maximum="image", mean=(0.5, 0.5, 0.5), std=(1, 1, 1))
    done = salient(np.array([[[10, 20, 40]]], np.uint8))
    assert done[0, :, 0, 0].tolist() == pytest.approx([-0.25, 0.0, 0.5])
    assert salient(np.zeros((2, 2, 3), np.uint8)).unique().tolist() == [-0.5]


def test_volumes_keep_their_values_without_an_input_range() -> None:
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert Preprocessing(ndim=3, input_range=None)(volume)[0, 0].tolist() == volume.tolist()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros(4, np.uint8), r"has shape \(4,\); expected \(\*spatial, C\) or \(\*spatial\) of 2 dimensions"),
        (torch.zeros(4, 4), r"expected \(C, \*spatial\) or \(N, C, \*spatial\)"),
        (PIXELS.astype(np.float32), "values from 0 to 2..; expected 0 to 1"),
        (PIXELS.astype(np.int64), "type int64 with values"),
        (PIXELS.astype(complex), "expected numbers"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_for_the_weights_is_refused(image: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        IMAGENET(image)


@pytest.mark.parametrize("preprocessing", [Preprocessing(per_image=True), Preprocessing(maximum="image")])
def test_statistics_of_windows_are_those_of_the_whole_image(preprocessing: Preprocessing) -> None:
    image = torch.rand(2, 40, 30) * 3 + 1000
    statistics = Statistics()
    for window in image.split(7, dim=1):
        statistics = statistics.add(window.numpy())
    exact = image.double()
    assert statistics.mean == pytest.approx(exact.mean().item(), rel=1e-9)
    assert statistics.std == pytest.approx(exact.std(correction=0).item(), rel=1e-5)
    torch.testing.assert_close(
        preprocessing.normalize(image[None], statistics), preprocessing.normalize(image[None]), atol=2e-3, rtol=0
    )


def test_figures_that_contradict_each_other_are_refused() -> None:
    for figures in ({"mean": (0.5,)}, {"mean": (0.5,), "std": (1, 1)}, {"per_image": True, "mean": (1,), "std": (1,)}):
        with pytest.raises(ValueError, match="mean"):
            Preprocessing.model_validate(figures)
