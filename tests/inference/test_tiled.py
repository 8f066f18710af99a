from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from torch import Tensor, nn

from tests.inference import networks
from unetzoo.errors import ConfigError, InputError
from unetzoo.inference import TestTimeAugmentation, predict_tiled

GEO_TAGS = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 10.0, 20.0, 0.0), True)]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return networks.Plain()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 90, 75), dtype=np.uint8)


@pytest.fixture
def expected(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(pixels)[None].float())[0].numpy()


class Interrupted(nn.Module):
    """A network that fails after a number of calls."""

    def __init__(self, network: nn.Module, calls: int) -> None:
        super().__init__()
        self.network, self.calls, self.count = network, calls, 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        if self.count > self.calls:
            raise KeyboardInterrupt
        return self.network(x)


def write_tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, np.moveaxis(pixels, 0, -1), photometric="rgb", **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_is_read_in_windows_and_its_place_passed_on(network, pixels, expected, tmp_path, compression):
    source = write_tiff(tmp_path / "in.tif", pixels, tile=(32, 32), compression=compression, extratags=GEO_TAGS)
    result = predict_tiled(network, source, tile=40, out=tmp_path / "out.tif")
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        np.testing.assert_array_equal(tiff.asarray(), result)
        for code, _, _, value, _ in GEO_TAGS:
            assert tiff.pages[0].tags[code].value == value


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_predictions_are_written_to_files(network, pixels, expected, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    predict_tiled(network, pixels, tile=40, out=out)
    read = {".npy": np.load, ".tif": tifffile.imread, ".zarr": lambda path: zarr.open_array(path, mode="r")[:]}[suffix]
    np.testing.assert_allclose(read(out), expected, rtol=1e-5, atol=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("output", ["logits", "labels"])
def test_volumes_are_read_from_and_written_to_tiff(tmp_path, output):
    torch.manual_seed(0)
    network, volume = nn.Conv3d(1, 2, 3, padding=1), np.random.default_rng(0).random((12, 40, 36), dtype=np.float32)
    tifffile.imwrite(tmp_path / "in.tif", volume, photometric="minisblack")
    predict_tiled(network, tmp_path / "in.tif", tile=24, output=output, out=tmp_path / "out.tif")
    with torch.inference_mode():
        logits = network(torch.from_numpy(volume)[None, None])[0].numpy()
    expected = logits if output == "logits" else logits.argmax(0)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, atol=1e-5)


def test_arrays_of_all_kinds_are_read_in_windows(network, pixels, expected, tmp_path):
    np.save(tmp_path / "in.npy", pixels)
    chunked = zarr.open_array(tmp_path / "in.zarr", mode="w", shape=pixels.shape, dtype=np.uint8, chunks=(3, 32, 32))
    chunked[:] = pixels
    last = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    for image, channels in [
        (tmp_path / "in.npy", None),
        (tmp_path / "in.zarr", None),
        (chunked, None),
        (torch.from_numpy(pixels), None),
        (last, "last"),
    ]:
        result = predict_tiled(network, image, tile=40, channels=channels)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)


def test_an_image_is_never_read_whole(network, pixels):
    class Watched:
        shape = pixels.shape
        largest = 0

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            part = pixels[key]
            self.largest = max(self.largest, part.size)
            return part

    watched = Watched()
    for mode in ("exact", "mirror", "blend"):
        predict_tiled(network, watched, tile=32, mode=mode)
    assert watched.largest <= 3 * 32 * 32


def test_a_given_array_is_filled(network, pixels, expected):
    out = np.zeros(expected.shape, np.float32)
    assert predict_tiled(network, pixels, tile=40, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)


def test_labels_and_probabilities_follow_from_the_logits(network, pixels, expected):
    labels = predict_tiled(network, pixels, tile=40, output="labels")
    np.testing.assert_array_equal(labels, expected.argmax(0))
    assert labels.dtype == np.uint8
    probabilities = predict_tiled(network, pixels, tile=40, output="probabilities")
    np.testing.assert_allclose(probabilities, torch.from_numpy(expected).softmax(0), atol=1e-5)


def test_a_single_output_is_cut_at_a_logit_of_zero(pixels):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 1, 1)
    image = pixels.astype(np.float32) - 128
    logits = predict_tiled(network, image, tile=40)
    assert 0 < (logits > 0).mean() < 1
    np.testing.assert_array_equal(predict_tiled(network, image, tile=40, output="labels"), logits[0] > 0)
    np.testing.assert_allclose(
        predict_tiled(network, image, tile=40, output="probabilities"), torch.from_numpy(logits).sigmoid(), atol=1e-6
    )


def test_tiles_are_prepared_before_the_network_sees_them(network, pixels):
    result = predict_tiled(network, pixels, tile=40, prepare=lambda x: x / 255 - 0.5)
    scaled = torch.from_numpy(pixels)[None].float() / 255 - 0.5
    np.testing.assert_allclose(result, network(scaled)[0].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["exact", "mirror", "blend"])
@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_an_interrupted_prediction_goes_on_where_it_stopped(network, pixels, tmp_path, mode, suffix):
    options = {"mode": mode, "tile": 32, "batch_size": 2}
    complete = predict_tiled(network, pixels, **options)
    calls: list[int] = []
    network.register_forward_hook(lambda *_: calls.append(1))
    predict_tiled(network, pixels, **options)
    whole_run = len(calls)
    out = tmp_path / f"out{suffix}"

    def stop(done: int, total: int) -> None:
        if done > total * 3 // 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_tiled(network, pixels, **options, out=out, progress=stop)
    assert not out.exists()
    calls.clear()
    result = predict_tiled(network, pixels, **options, out=out, resume=True)
    np.testing.assert_array_equal(np.asarray(result[:]), complete)
    assert len(calls) < whole_run
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name]


def test_a_partial_file_of_other_weights_is_not_resumed(network, pixels, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_tiled(Interrupted(network, 6), pixels, mode="blend", tile=32, out=tmp_path / "out.npy")
    with pytest.raises(InputError, match="another image, model or setting"):
        predict_tiled(networks.Plain(), pixels, mode="blend", tile=32, out=tmp_path / "out.npy", resume=True)


def test_an_older_prediction_survives_a_failing_one(network, pixels, tmp_path):
    out = tmp_path / "out.npy"
    predict_tiled(network, pixels, mode="blend", tile=32, out=out)
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        predict_tiled(Interrupted(network, 6), pixels, mode="blend", tile=32, out=out)
    assert out.read_bytes() == before


def test_progress_counts_every_batch(network, pixels):
    seen: list[tuple[int, int]] = []
    predict_tiled(network, pixels, tile=32, progress=lambda done, total: seen.append((done, total)))
    total = seen[0][1]
    assert seen == [(done, total) for done in range(1, total + 1)]
    assert total > 1


def test_the_network_is_evaluated_and_left_as_it_was(pixels):
    network = nn.Sequential(networks.Plain(), nn.Dropout(0.9))
    network.train()
    network[0].eval()
    first = predict_tiled(network, pixels, tile=40)
    np.testing.assert_array_equal(first, predict_tiled(network, pixels, tile=40))
    assert [module.training for module in (network, network[0], network[1])] == [True, False, True]


def test_augmentation_goes_with_halos_and_not_with_stages(network, pixels):
    augmented = TestTimeAugmentation(network)
    with torch.inference_mode():
        expected = augmented(torch.from_numpy(pixels)[None].float())[0].numpy()
    result = predict_tiled(network, pixels, tile=40, tta=augmented)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
    deep, pixels = networks.Deep(), pixels[:, :64, :64]
    with pytest.raises(ConfigError, match="not exact in stages"):
        predict_tiled(deep, pixels, tile=96, split=4, tta=TestTimeAugmentation(deep))
    with pytest.raises(ConfigError, match="around another network"):
        predict_tiled(network, pixels, tta=TestTimeAugmentation(deep))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "whole"}, ConfigError, "expected 'exact', 'mirror' or 'blend'"),
        ({"tile": 0}, ConfigError, "tile is 0"),
        ({"tile": (32, 32, 32)}, ConfigError, "or 2 of them"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0"),
        ({"output": "masks"}, ConfigError, "output is 'masks'"),
        ({"out": "out.jpg"}, InputError, "out.jpg"),
        ({"out": np.zeros((2, 3, 4))}, InputError, r"this prediction has \(2, 90, 75\)"),
        ({"resume": True}, InputError, "needs a path"),
    ],
)
def test_options_without_meaning_are_refused(network, pixels, options, error, message):
    with pytest.raises(error, match=message):
        predict_tiled(network, pixels, **{"tile": 40, **options})


def test_a_batch_and_an_unknown_file_are_refused(network, pixels):
    with pytest.raises(InputError, match="not a batch"):
        predict_tiled(network, pixels[None])
    with pytest.raises(InputError, match="no such file"):
        predict_tiled(network, "image.bmp")
