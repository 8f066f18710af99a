from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import unetzoo
from tests.inference import networks
from unetzoo.errors import ConfigError
from unetzoo.inference import predict_tiled
from unetzoo.inference.planning import plan_exact


def whole(network: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(image)[None])[0].numpy()


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def assert_equal_to_rounding(tiled: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(tiled, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def plan_of(network: nn.Module, tile: tuple[int, ...], splits: tuple[int, ...] | None = None):
    return plan_exact(network, 3, tile, splits=splits)


def test_halo_is_the_receptive_radius_rounded_to_the_stride():
    assert plan_of(networks.Plain(), (64, 64)).halo == (3, 3)
    # output pixels 2q and 2q + 1 see the coarse pixels q - 1 to q + 1, these see 2q - 3 to 2q + 3, and those 2q - 4 to
    # 2q + 4: from an even border outwards four pixels on the left, and on the right as many
    network = nn.Sequential(
        networks.conv(3, 2), networks.conv(2, 2, stride=2), networks.conv(2, 2), nn.Upsample(scale_factor=2)
    )
    plan = plan_of(network, (64, 64))
    assert plan.recording.align == (2, 2)
    assert plan.halo == (4, 4)


@pytest.mark.parametrize(("left", "right"), [(5, 0), (0, 5), (2, 4)])
def test_halo_follows_the_side_that_is_seen_further(left, right):
    network, image = networks.LooksAhead(left, right), image_of(3, 40, 50)
    assert plan_of(network, (64, 64)).halo == (0, max(left, right))
    assert_equal_to_rounding(predict_tiled(network, image, tile=16), whole(network, image))


@pytest.mark.parametrize("shape", [(3, 70, 93), (3, 17, 23, 19)])
def test_shallow_networks_need_a_halo_and_nothing_else(shape):
    network, image = networks.Plain(ndim=len(shape) - 1), image_of(*shape)
    tiled = predict_tiled(network, image, tile=12)
    assert_equal_to_rounding(tiled, whole(network, image))


def test_deep_networks_run_in_stages():
    network = networks.Deep()
    plan = plan_of(network, (96, 96))
    assert len(plan.splits) == 1
    assert [stage.level for stage in plan.stages] == [0, None, 0]
    image = image_of(3, 160, 224)
    assert_equal_to_rounding(predict_tiled(network, image, tile=96), whole(network, image))


@pytest.mark.parametrize("split", [2, 4, 8, 16])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_split_gives_the_same(split, batch_size):
    network, image = networks.Deep(), image_of(3, 224, 320)
    tiled = predict_tiled(network, image, tile=192, split=split, batch_size=batch_size)
    assert_equal_to_rounding(tiled, whole(network, image))


@pytest.mark.parametrize("network", [networks.Deep, networks.Nested, networks.FullScale])
@pytest.mark.parametrize("split", [(2, 4), (2, 8), (2, 4, 8)])
def test_several_splits_give_the_same_on_tiles_of_several_levels(network, split):
    model, image = network(), image_of(3, 320, 192)
    plan = plan_of(model, (96, 96), splits=split)
    assert {stage.level for stage in plan.stages} >= {0, 1}
    assert_equal_to_rounding(predict_tiled(model, image, tile=96, split=split), whole(model, image))


def test_a_plan_is_measured_once_for_many_images():
    network = networks.Deep()
    plan = plan_exact(network, 3, (96, 96))
    images = [image_of(3, 160, 96), image_of(3, 64, 224)]
    expected = [whole(network, image) for image in images]
    complete_runs: list[int] = []
    network.register_forward_hook(lambda *_: complete_runs.append(1))
    for image, result in zip(images, expected, strict=True):
        assert_equal_to_rounding(predict_tiled(network, image, tile=96, plan=plan), result)
    assert not complete_runs  # stages end before the network does; measuring runs all of it
    with pytest.raises(ConfigError, match="both given"):
        predict_tiled(network, image_of(3, 64, 64), tile=96, plan=plan, split=4)


def test_volumes_run_in_stages_too():
    network, image = networks.Deep(depth=3, ndim=3), image_of(3, 24, 16, 56)
    tiled = predict_tiled(network, image, tile=40, split=4)
    assert_equal_to_rounding(tiled, whole(network, image))


@pytest.mark.parametrize(("network", "rounds"), [(networks.Nested, 3), (networks.FullScale, 3), (networks.InPlace, 3)])
def test_networks_that_come_down_several_times_take_more_stages(network, rounds):
    model, image = network(), image_of(3, 128, 96)
    plan = plan_of(model, (96, 96), splits=(2,))
    assert sum(stage.level == 0 for stage in plan.stages) == rounds
    assert_equal_to_rounding(predict_tiled(model, image, tile=64, split=2), whole(model, image))


def test_coarse_maps_alone_are_held_for_the_whole_image():
    plan = plan_of(networks.Deep(), (128, 128), splits=(8,))
    operations = plan.recording.operations
    held = [i for stage in plan.stages for i in stage.reads | (stage.wanted if stage.level is None else frozenset())]
    assert held
    assert all(operations[i].strides is None or min(operations[i].strides) >= 8 for i in held)


@pytest.mark.parametrize(("height", "width"), [(151, 203), (33, 96)])
def test_a_size_that_the_network_does_not_take_is_mirrored_up_to_its_stride_if_asked(height, width):
    network, image = networks.Deep(), image_of(3, height, width)
    with pytest.raises(ConfigError, match=r"no multiple of the model's stride \(32, 32\).*mirror_ends=True"):
        predict_tiled(network, image, tile=96, split=4)
    padded = np.pad(image, ((0, 0), (0, -height % 32), (0, -width % 32)), mode="reflect")
    tiled = predict_tiled(network, image, tile=96, split=4, mirror_ends=True)
    assert_equal_to_rounding(tiled, whole(network, padded)[:, :height, :width])


def test_a_size_beyond_the_stride_is_followed_where_the_network_treats_it_alike_in_tiles():
    network = unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 4, 4]})
    image = image_of(3, 203, 150)
    assert plan_of(network, (192, 192)).splits == ()
    assert_equal_to_rounding(predict_tiled(network, image, tile=192), whole(network, image))


@pytest.mark.parametrize("size", [(203, 221), (193, 190), (207, 176), (177, 161)])
def test_stages_follow_a_size_off_the_stride(size):
    network = unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 4, 4, 4, 4]})
    image = image_of(3, *size)
    plan = plan_exact(network, 3, (160, 160), splits=(8,))
    expected = whole(network, image)
    assert_equal_to_rounding(predict_tiled(network, image, tile=160, split=8), expected)
    assert_equal_to_rounding(predict_tiled(network, image, tile=160, plan=plan), expected)
    assert list(plan.others) == [(size[0] % 16, size[1] % 16)]  # kept for the next image


@pytest.mark.parametrize(
    ("name", "options", "split", "tile"),
    [
        ("linknet34", {}, (4, 8), 128),
        ("unet", {"encoder": {"name": "timm/resnet18"}}, 4, 128),
    ],
)
def test_networks_of_the_zoo_follow_a_size_off_the_stride_in_stages(name, options, split, tile):
    network, image = unetzoo.create(name, num_classes=2, **options), image_of(3, 235, 150)
    assert_equal_to_rounding(predict_tiled(network, image, tile=tile, split=split), whole(network, image))


def test_stages_follow_a_volume_off_the_stride():
    network = unetzoo.create("unet", ndim=3, num_classes=2, encoder={"channels": [4, 4, 4]})
    image = image_of(3, 43, 41, 38)
    assert_equal_to_rounding(predict_tiled(network, image, tile=36, split=2), whole(network, image))


def test_a_size_off_the_stride_whose_result_depends_on_the_whole_size_is_refused_unless_mirrored():
    network, image = networks.Resized(), image_of(3, 103, 96)
    with pytest.raises(ConfigError, match="mirror_ends=True"):
        predict_tiled(network, image, tile=64, split=2)
    padded = np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="reflect")
    tiled = predict_tiled(network, image, tile=64, split=2, mirror_ends=True)
    assert_equal_to_rounding(tiled, whole(network, padded)[:, :103])


def test_networks_of_the_zoo_run_in_stages():
    network = unetzoo.create("linknet34", num_classes=2)
    image = image_of(3, 128, 160)
    assert_equal_to_rounding(predict_tiled(network, image, tile=128, split=4), whole(network, image))


def test_an_image_smaller_than_the_tile_is_one_tile():
    network, image = networks.Deep(), image_of(3, 32, 64)
    assert_equal_to_rounding(predict_tiled(network, image, tile=512, split=8), whole(network, image))


def test_an_image_that_fits_the_tile_needs_no_tiling_and_takes_any_network_of_its_size():
    image = image_of(3, 32, 64)
    steps = []
    for network in (networks.Normalized(), networks.Stretched()):
        result = predict_tiled(network, image, tile=64, progress=lambda *step: steps.append(step))
        assert_equal_to_rounding(result, whole(network, image))
    assert steps == [(1, 1), (1, 1)]


def test_normalization_by_the_image_is_refused():
    with pytest.raises(ConfigError, match=r"sees further.*mode='blend'"):
        predict_tiled(networks.Normalized(), image_of(3, 64, 96), tile=64)


def test_sampling_that_depends_on_the_size_is_refused():
    with pytest.raises(ConfigError, match=r"where a tile lies.*mode='blend'"):
        predict_tiled(networks.Stretched(), image_of(3, 256, 256), tile=128)


def test_unpadded_convolutions_are_sent_to_the_mirror_mode():
    with pytest.raises(ConfigError, match="mode='mirror'"):
        predict_tiled(networks.Unpadded(), image_of(3, 64, 64), tile=64)


def test_a_tile_that_is_all_halo_is_refused_with_the_size_it_takes():
    with pytest.raises(ConfigError, match=r"needs \(7, 7\) at least"):
        predict_tiled(networks.Plain(), image_of(3, 64, 64), tile=6, split=0)
