"""Predictions that are resumed, and outputs that two want to write: the right result, or a refusal by name."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unetzoo.errors import ConfigError, InputError
from unetzoo.files import locked
from unetzoo.images import output
from unetzoo.inference.run.tta import TestTimeAugmentation
from unetzoo.inference.tiled import predict_tiled

NETWORK = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))
OPTIONS: dict[str, Any] = {"mode": "blend", "tile": 32}


def pixels() -> np.ndarray:
    return np.random.default_rng(0).random((1, 96, 96), dtype=np.float32)


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def interrupt(out: Path, image: Any, **options: Any) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_tiled(NETWORK, image, **OPTIONS, out=out, progress=stop, **options)


def brighter(image: np.ndarray) -> None:
    image[:, 40:56, 40:56] += 1


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (brighter, {}),
        (None, {"prepare": double}),
        (None, {"tta": TestTimeAugmentation(NETWORK, symmetries="flips")}),
        (None, {"output": "probabilities"}),
    ],
)
def test_a_prediction_of_another_image_or_setting_is_not_resumed(
    tmp_path: Path, change: Callable[[np.ndarray], None] | None, options: dict[str, Any]
) -> None:
    image = pixels()
    interrupt(tmp_path / "out.npy", image)
    if change is not None:
        change(image)
    with pytest.raises(InputError, match="another image, model or setting"):
        predict_tiled(NETWORK, image, **OPTIONS, out=tmp_path / "out.npy", resume=True, **options)


def test_a_file_that_changed_where_nothing_is_sampled_is_not_resumed(tmp_path: Path) -> None:
    image = pixels()
    np.save(tmp_path / "image.npy", image)
    interrupt(tmp_path / "out.npy", tmp_path / "image.npy")
    image[0, 20, 20] += 1
    np.save(tmp_path / "image.npy", image)
    with pytest.raises(InputError, match="another image, model or setting"):
        predict_tiled(NETWORK, tmp_path / "image.npy", **OPTIONS, out=tmp_path / "out.npy", resume=True)


def test_a_kill_between_making_the_file_and_noting_it_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = pixels(), tmp_path / "out.npy"
    interrupt(out, image)
    with monkeypatch.context() as patch:
        patch.setattr(output.Output, "_note", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict_tiled(NETWORK, image, **OPTIONS, out=out)
    resumed = predict_tiled(NETWORK, image, **OPTIONS, out=out, resume=True)
    np.testing.assert_array_equal(resumed[:], predict_tiled(NETWORK, image, **OPTIONS))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 3, "steps": "x"}', "[" * 5000])
def test_a_broken_journal_is_refused(tmp_path: Path, text: str) -> None:
    interrupt(tmp_path / "out.npy", pixels())
    (tmp_path / "out.partial.npy.json").write_text(text)
    with pytest.raises(InputError, match="no journal of a prediction"):
        predict_tiled(NETWORK, pixels(), **OPTIONS, out=tmp_path / "out.npy", resume=True)


def test_of_two_writers_to_one_output_one_goes_on_and_the_other_is_refused(tmp_path: Path) -> None:
    out, refused = tmp_path / "out.npy", []

    def second(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(ConfigError, match="out.npy is being written by another") as caught:
                predict_tiled(NETWORK, pixels(), **OPTIONS, out=out)
            refused.append(caught)

    first = predict_tiled(NETWORK, pixels(), **OPTIONS, out=out, progress=second)
    assert refused
    np.testing.assert_array_equal(first[:], predict_tiled(NETWORK, pixels(), **OPTIONS))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]
    predict_tiled(NETWORK, pixels(), **OPTIONS, out=out)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from unetzoo.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match="being written by another"), locked(tmp_path / "run"):
        pass
    process.kill()
    process.wait()
    with locked(tmp_path / "run"):
        pass


def test_the_image_itself_is_no_output(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", pixels())
    with pytest.raises(InputError, match="the image itself"):
        predict_tiled(NETWORK, tmp_path / "image.npy", **OPTIONS, out=tmp_path / "image.npy")
    own = pixels().repeat(2, axis=0)
    with pytest.raises(InputError, match="the image itself"):
        predict_tiled(nn.Conv2d(2, 2, 1), own, **OPTIONS, out=own)


def test_threads_that_share_a_model_in_training_mode_leave_its_buffers_and_mode() -> None:
    NETWORK.train()
    before = {key: tensor.clone() for key, tensor in NETWORK.state_dict().items()}
    started = threading.Barrier(2)

    def run(windows: int) -> None:
        first = iter([True])

        def wait(done: int, total: int) -> None:
            if next(first, False):
                started.wait(60)

        predict_tiled(NETWORK, np.zeros((1, 32 * windows, 32), np.float32), **OPTIONS, progress=wait)

    threads = [threading.Thread(target=run, args=(windows,)) for windows in (1, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert NETWORK.training
    assert all(torch.equal(before[key], tensor) for key, tensor in NETWORK.state_dict().items())
