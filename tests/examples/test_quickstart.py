"""The quickstart script, run as a user runs it."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import unetzoo

SCRIPT = Path(__file__).parents[2] / "examples" / "quickstart.py"
SMALL = "encoder: {name: conv, channels: [4, 8]}\ndecoder: {name: unet}\nhead: {name: conv}\n"


def arguments(folder: Path, *options: str, config: str = SMALL) -> list[str]:
    """The command line that trains a small network on a few nuclei."""
    model = folder / "small.yaml"
    model.write_text(config, encoding="utf-8")
    small = ["--epochs", "2", "--limit", "5", "--batch-size", "2", "--crop", "32", "--cpu"]
    return [str(model), *small, "--out", str(folder), *options]


def quickstart(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)


def numbers(folder: Path) -> dict[str, object]:
    """What a run reports, without what differs from run to run by intent."""
    report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in report.items() if key not in ("settings", "seconds")}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a run in a process of its own has written."""
    folder = tmp_path_factory.mktemp("result")
    done = quickstart(*arguments(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("quickstart")


def test_it_reports_a_loss_an_epoch_and_the_iou_of_every_class(result: Path) -> None:
    report = numbers(result)
    assert set(report) == {"iou", "mean_iou", "pixel_accuracy", "losses"}
    assert len(report["losses"]) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in report["losses"])
    assert list(report["iou"]) == ["background", "nucleus", "border"]
    assert report["mean_iou"] == pytest.approx(sum(report["iou"].values()) / 3)


def test_the_reported_iou_is_that_of_the_saved_network_over_the_whole_evaluation_split(result: Path) -> None:
    root = SCRIPT.parent / "data" / "nuclei"
    model = unetzoo.from_pretrained(result / "model")
    hits, union = np.zeros(3), np.zeros(3)
    for name in (root / "val.txt").read_text(encoding="utf-8").split()[:5]:
        image, truth = (np.array(Image.open(root / folder / f"{name}.png")) for folder in ("images", "masks"))
        x = torch.from_numpy(image).float()
        x = ((x - x.mean()) / x.std().clamp_min(1)).expand(1, 3, 256, 256)
        with torch.no_grad():
            predicted = model(x)[0].argmax(0).numpy()
        for label in range(3):
            hits[label] += ((predicted == label) & (truth == label)).sum()
            union[label] += ((predicted == label) | (truth == label)).sum()
    # A few pixels may tip over: here the mean and deviation are summed over one channel, there over three.
    assert list(numbers(result)["iou"].values()) == pytest.approx(list(hits / union), abs=1e-4)


def test_its_pictures_decode_and_show_something(result: Path) -> None:
    for name in ("predictions.png", "loss.png"):
        picture = Image.open(result / name).convert("RGB")
        assert min(picture.size) >= 300, name
        assert len(np.unique(np.array(picture).reshape(-1, 3), axis=0)) > 10, name


def test_another_seed_gives_other_numbers(
    script: ModuleType, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", *arguments(tmp_path, "--seed", "1")])
    assert script.main() == 0
    losses = numbers(tmp_path)["losses"]
    assert losses[0] != pytest.approx(numbers(result)["losses"][0], rel=1e-3)


def test_a_root_that_does_not_exist_ends_with_exit_code_2_a_message_and_no_results(tmp_path: Path) -> None:
    done = quickstart("--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root", str(SCRIPT.parent)], "no images found as images/{name}.*"),
        (["--split", "test"], "no split 'test'"),
        (["dlinknet43"], "did you mean 'dlinknet34'"),
        (["--data", "msrc_v2"], "needs --root"),
        (["--epochs", "0"], "epochs: expected a number of at least 1, got 0"),
    ],
)
def test_what_cannot_work_ends_with_exit_code_2_and_a_message(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", *options, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        sys.exit(script.main())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
