from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.inference import networks
from unetzoo.errors import ConfigError
from unetzoo.inference import predict_tiled


class Same(nn.Module):
    """Gives the image back and keeps the sizes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return x.clone()


class PositionInTile(nn.Module):
    """Gives each pixel's distance to its tile's upper end."""

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(x.shape[2], dtype=x.dtype)
        return rows[:, None].expand(x.shape[0], 1, *x.shape[2:])


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(2, 100, 75), (1, 40, 200), (3, 20, 9)])
def test_blended_weights_add_up_to_one_everywhere(shape, overlap):
    image = image_of(*shape)
    tiled = predict_tiled(Same(), image, mode="blend", tile=32, overlap=overlap, batch_size=2)
    np.testing.assert_allclose(tiled, image, atol=1e-5)


def test_blended_volumes_add_up_too():
    network, image = Same(), image_of(1, 40, 50, 36)
    network.ndim = 3
    tiled = predict_tiled(network, image, mode="blend", tile=32, overlap=0.5)
    np.testing.assert_allclose(tiled, image, atol=1e-5)


def test_blending_trusts_the_center_of_a_window_most():
    # two windows of 32 rows over 44 pixels, at either end
    tiled = predict_tiled(PositionInTile(), image_of(1, 44, 32), mode="blend", tile=32, overlap=0.5)
    starts = np.array([0, 12])
    rows = np.arange(44)
    position = rows[:, None] - starts
    weights = np.exp(-(((position - 15.5) / (32 / 8)) ** 2) / 2) * ((position >= 0) & (position < 32))
    expected = (weights * position).sum(1) / weights.sum(1)
    np.testing.assert_allclose(tiled[0, :, 0], expected, rtol=1e-4)


def test_windows_never_exceed_the_tile_nor_the_batch():
    network = Same()
    predict_tiled(network, image_of(1, 100, 100), mode="blend", tile=32, overlap=0.25, batch_size=4)
    # 4 windows of 32 that share 8 cover 104 pixels: 4 rows of 4, and one empty tile that asks for the number of classes
    assert sum(shape[0] for shape in network.seen) == 16 + 1
    assert {shape[2:] for shape in network.seen} == {(32, 32)}
    assert max(shape[0] for shape in network.seen) == 4


def test_the_image_goes_on_as_its_mirror_beyond_the_border():
    network = Same()
    seen: list[Tensor] = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    image = image_of(1, 64, 64)
    predict_tiled(network, image, mode="mirror", tile=32)
    first = next(tile for tile in seen if tile.abs().sum() > 0)[0, 0].numpy()
    np.testing.assert_array_equal(first, np.pad(image[0], 8, mode="reflect")[:32, :32])


@pytest.mark.parametrize("shape", [(3, 100, 75), (3, 5, 40)])
def test_mirrored_tiles_cover_the_image(shape):
    image = image_of(*shape)
    np.testing.assert_array_equal(predict_tiled(Same(), image, mode="mirror", tile=64, halo=16, batch_size=3), image)


def test_unpadded_convolutions_give_the_result_of_the_whole_mirrored_image():
    torch.manual_seed(0)
    network, image = networks.Unpadded().eval(), image_of(3, 108, 92)
    tiled = predict_tiled(network, image, mode="mirror", tile=52)
    lost = (52 - network(torch.zeros(1, 3, 52, 52)).shape[2]) // 2
    with torch.inference_mode():
        padded = np.pad(image, ((0, 0), (lost, lost), (lost, lost)), mode="reflect")
        expected = network(torch.from_numpy(padded)[None])[0].numpy()
    np.testing.assert_allclose(tiled, expected, atol=1e-5)


def test_a_halo_under_what_unpadded_convolutions_take_is_refused():
    with pytest.raises(ConfigError, match="unpadded convolutions need"):
        predict_tiled(networks.Unpadded(), image_of(3, 64, 64), mode="mirror", tile=52, halo=2)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_that_is_no_share_is_refused(overlap):
    with pytest.raises(ConfigError, match="overlap is"):
        predict_tiled(Same(), image_of(1, 64, 64), mode="blend", tile=32, overlap=overlap)
