"""What a recipe says is what the training loop does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import unetzoo
from tests.training.conftest import NUCLEI
from unetzoo.training import loop
from unetzoo.training.averaging import averaged
from unetzoo.training.data import load_data
from unetzoo.training.determinism import seed_everything
from unetzoo.training.learner import make_model
from unetzoo.training.loop import train
from unetzoo.training.metrics.confusion import SegmentationScores
from unetzoo.training.recipe import Recipe, read_recipe
from unetzoo.training.runs import RunFolder

Write = Callable[..., Path]
WITHOUT_NORM = {"name": "double_conv", "norm": "none"}
PLAIN = {"name": "unet", "encoder": {"name": "conv", "channels": [4, 8]}, "block": WITHOUT_NORM}


def initial(recipe: Recipe) -> dict[str, torch.Tensor]:
    """The weights that a run of the recipe begins with."""
    seed_everything(recipe.seed)
    return make_model(recipe, load_data(recipe.data)).state_dict()


def column(out: Path, name: str) -> list[object]:
    return [row[name] for row in RunFolder(out).rows() if name in row]


def test_training_lowers_the_loss_and_leaves_network_metrics_and_pictures(nuclei_recipe: Write, tmp_path: Path) -> None:
    recipe = nuclei_recipe(epochs=8, optimizer={"name": "adamw", "lr": 0.02}, tensorboard=True, keep="last")
    result = train(read_recipe(recipe), tmp_path)
    losses = column(tmp_path, "loss")
    assert len(losses) == result.steps == 8 * 4
    assert sum(losses[-4:]) < 0.75 * sum(losses[:4])

    assert result.scores is not None
    assert column(tmp_path, "mean_iou")[-1] == result.scores.mean_iou
    assert unetzoo.from_pretrained(result.folder).num_classes == 3
    for name in ("curves.png", "predictions.png"):
        picture = Image.open(tmp_path / name).convert("RGB")
        assert len(np.unique(np.array(picture).reshape(-1, 3), axis=0)) > 50, name
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses)
    assert [event.step for event in events.Scalars("val/mean_iou")] == list(range(4, 33, 4))


def test_a_trained_network_says_how_it_is_applied(nuclei_recipe: Write, tmp_path: Path) -> None:
    figures = {"mean": [0.2], "std": [0.1]}
    data = {"preset": "nuclei", "root": str(NUCLEI), "crop": 32, "limit": 2, "normalize": figures, "channels": "gray"}
    result = train(read_recipe(nuclei_recipe(data=data, epochs=1)), tmp_path)
    model = unetzoo.from_pretrained(result.folder)
    assert model.preprocessing == unetzoo.Preprocessing(channels="gray", mean=(0.2,), std=(0.1,))
    assert model.classes is not None
    assert model.classes.names == ("background", "nucleus", "border")
    assert model.classes.colors == ((0, 0, 0), (64, 160, 255), (255, 96, 0))
    assert model.classes.ignore_index == 255
    assert model.provenance is not None
    assert model.provenance.weights == "recipe of unet"
    path = sorted((NUCLEI / "images").iterdir())[0]
    with torch.no_grad():
        pixels = torch.from_numpy(np.array(Image.open(path).convert("L"), np.float32))[None, None]
        labels = model((pixels / 255 - 0.2) / 0.1)[0].argmax(0)
    found = unetzoo.Predictor(tmp_path, device="cpu").predict(path).labels
    assert (found == labels.numpy()).mean() > 0.9999


def test_the_best_network_is_kept_unless_the_last_is_asked_for(nuclei_recipe: Write, tmp_path: Path) -> None:
    # At so high a rate the scores rise and fall: a shorter run is ended by an epoch in which they fall.
    recipe = nuclei_recipe(epochs=8, optimizer={"name": "sgd", "lr": 10.0}, schedule={"name": "constant"})
    train(read_recipe(recipe), tmp_path / "long")
    falls = [later < earlier for earlier, later in pairwise(column(tmp_path / "long", "mean_iou"))]
    epochs = falls.index(True) + 2
    best, last = (
        train(read_recipe(recipe, {"keep": keep, "epochs": epochs}), tmp_path / keep).scores
        for keep in ("best", "last")
    )
    scores = column(tmp_path / "best", "mean_iou")
    assert len(scores) == epochs
    assert scores.index(max(scores)) < epochs - 1
    assert best is not None
    assert best.mean_iou == max(scores)
    assert last is not None
    assert last.mean_iou == scores[-1]


def test_a_score_of_nan_is_never_the_best(
    nuclei_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([SegmentationScores({}, {}, float("nan"))])
    real = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *args, **options: next(answers, None) or real(*args, **options))
    result = train(read_recipe(nuclei_recipe(model=PLAIN, epochs=2)), tmp_path)
    second = column(tmp_path, "mean_iou")[1]
    assert result.scores is not None
    assert result.scores.mean_iou == second


def test_a_run_stops_once_its_scores_have_not_improved_for_as_many_evaluations_as_told(
    nuclei_recipe: Write, tmp_path: Path
) -> None:
    recipe = nuclei_recipe(
        model=PLAIN, epochs=9, evaluate_every=2, early_stopping=2, optimizer={"name": "sgd", "lr": 1e-30}
    )
    result = train(read_recipe(recipe), tmp_path)
    assert result.stopped_early
    assert [row["epoch"] for row in RunFolder(tmp_path).rows() if "mean_iou" in row] == [2, 4, 6]
    assert result.steps == 6 * 4


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"freeze_encoder_epochs": 1}, "encoder."),
        ({"rates": {"head": 0}}, "head."),
        ({"rates": {"encoder": 0, "decoder": 0}}, ("encoder.", "decoder.")),
    ],
)
def test_parts_that_are_frozen_or_have_no_rate_keep_their_weights_and_the_others_learn(
    nuclei_recipe: Write, tmp_path: Path, changes: dict[str, object], kept: str | tuple[str, ...]
) -> None:
    recipe = read_recipe(nuclei_recipe(model=PLAIN, epochs=1, **changes))
    before = initial(recipe)
    after = unetzoo.from_pretrained(train(recipe, tmp_path).folder).state_dict()
    for key, tensor in after.items():
        assert torch.equal(tensor, before[key]) == key.startswith(kept), key


def test_a_frozen_encoder_learns_after_its_epochs(nuclei_recipe: Write, tmp_path: Path) -> None:
    recipe = read_recipe(nuclei_recipe(freeze_encoder_epochs=1, keep="last"))
    before = initial(recipe)
    after = unetzoo.from_pretrained(train(recipe, tmp_path).folder).state_dict()
    assert not any(torch.equal(after[key], before[key]) for key in after if key.startswith("encoder."))


def test_accumulated_batches_make_the_step_of_one_large_batch(nuclei_recipe: Write, tmp_path: Path) -> None:
    recipe = nuclei_recipe(model=PLAIN, loss="cross_entropy", epochs=1, clip=0.1)
    train(read_recipe(recipe, {"batch_size": 4}), tmp_path / "large")
    train(read_recipe(recipe, {"batch_size": 1, "accumulate": 4}), tmp_path / "small")
    for name in ("loss", "gradient_norm", "mean_iou"):
        assert column(tmp_path / "small", name) == pytest.approx(column(tmp_path / "large", name), rel=1e-5)


def test_the_average_follows_the_weights_by_a_decay_that_grows_with_the_steps() -> None:
    model = unetzoo.create("unet", encoder={"name": "conv", "channels": [4, 8]}).requires_grad_(False)
    weight = next(model.head.parameters())
    average = averaged(model, decay=0.25)
    expected = []
    for step, value in enumerate((1.0, 2.0, 4.0, 8.0)):
        weight.fill_(value)
        average.update_parameters(model)
        decay = min(0.25, (1 + step) / (10 + step))
        expected.append(value if step == 0 else decay * expected[-1] + (1 - decay) * value)
        assert next(average.module.head.parameters()).flatten()[0].item() == pytest.approx(expected[-1])


def test_a_running_average_is_what_is_scored_and_kept(nuclei_recipe: Write, tmp_path: Path) -> None:
    recipe = nuclei_recipe(model=PLAIN, epochs=1)
    plain = unetzoo.from_pretrained(train(read_recipe(recipe), tmp_path / "plain").folder).state_dict()
    mean = unetzoo.from_pretrained(train(read_recipe(recipe, {"ema": 0.9}), tmp_path / "mean").folder).state_dict()
    state = torch.load(RunFolder(tmp_path / "mean").last, weights_only=True)["learner"]
    for key, tensor in mean.items():
        assert torch.equal(state["model"][key], plain[key])
        assert torch.equal(state["average"][f"module.{key}"], tensor)
        assert not torch.equal(tensor, plain[key])


def test_outputs_of_all_levels_are_supervised(nuclei_recipe: Write, tmp_path: Path) -> None:
    deep = {**PLAIN, "encoder": {"name": "conv", "channels": [4, 8, 8]}, "deep_supervision": True}
    recipe = nuclei_recipe(model=deep, epochs=1, optimizer={"name": "sgd", "lr": 1e-20})
    train(read_recipe(recipe), tmp_path / "equal")
    train(read_recipe(recipe, {"deep_supervision": {"weights": [1, 0]}}), tmp_path / "finest")
    for every, finest in zip(column(tmp_path / "equal", "loss"), column(tmp_path / "finest", "loss"), strict=True):
        assert every > 1.5 * finest


def test_one_output_separates_two_classes(nuclei_recipe: Write, tmp_path: Path) -> None:
    data = {"root": str(Path(__file__).parents[2] / "examples/data/nuclei"), "crop": 32, "limit": 4, "threshold": 1}
    recipe = nuclei_recipe(
        model={**PLAIN, "num_classes": 1}, data={**data, "classes": ["rest", "nucleus"]}, loss={"bce": 1, "dice": 1}
    )
    result = train(read_recipe(recipe), tmp_path)
    assert result.scores is not None
    assert set(result.scores.iou) == {0, 1}
    with pytest.raises(unetzoo.ConfigError, match=r"model\.num_classes is 5, the data has 2 classes"):
        train(read_recipe(recipe, {"model": {"num_classes": 5}}), tmp_path / "five")


def test_precision_memory_layout_and_workers_are_options(nuclei_recipe: Write, tmp_path: Path) -> None:
    recipe = nuclei_recipe(epochs=1, workers=1, channels_last=True, gradient_checkpointing=True)
    train(read_recipe(recipe, {"workers": 0, "gradient_checkpointing": False}), tmp_path / "full")
    done = subprocess.run(
        [sys.executable, "-m", "unetzoo", "train", str(recipe), "--out", str(tmp_path / "half"), "--precision", "bf16"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, half = column(tmp_path / "full", "loss"), column(tmp_path / "half", "loss")
    assert half == pytest.approx(full, rel=0.02)
    assert half != pytest.approx(full, rel=1e-6)
