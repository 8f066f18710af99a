"""Measures what an encoder's ImageNet weights are worth: a U-Net from scratch, on a frozen encoder, and fine-tuned.

By the recipe `msrc_v2_pretrained.yaml`, with smaller crops and fewer epochs; the three runs differ in nothing else than
the encoder. Data: MSRC-v2 in `$UNETZOO_DATA/msrc2`. Needs the extras `unetzoo[train,test]`. Run with:

    UNETZOO_DATA=FOLDER python benchmarks/finetuning.py [--write docs/finetuning.md]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import timm
import torch
from rich.console import Console

import unetzoo
from unetzoo.files import write_text
from unetzoo.training import Recipe, read_recipe, train

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "msrc_v2_pretrained.yaml"


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    name: str
    learning: int
    mean_iou: float
    pixel_accuracy: float
    seconds: float

    def markdown(self) -> str:
        return (
            f"| {self.name} | {self.learning / 1e6:.2f} | {self.mean_iou:.3f} | {self.pixel_accuracy:.3f} "
            f"| {self.seconds:.0f} |"
        )


def recipes(root: Path, epochs: int, seed: int) -> dict[str, Recipe]:
    """The three recipes, which differ in the encoder's weights and in when and how fast it learns."""
    untaught = {"pretrained": False, "encoder": {"weights": None}}
    changes = {
        "from scratch": {"model": untaught, "rates": {"encoder": 1.0}, "freeze_encoder_epochs": 0},
        "frozen encoder": {"freeze_encoder_epochs": epochs},
        "fine-tuned": {"freeze_encoder_epochs": epochs // 4},
    }
    common = {"epochs": epochs, "evaluate_every": epochs, "seed": seed, "tensorboard": False}
    data = {"root": str(root), "crop": 128}
    return {name: read_recipe(RECIPE, {**common, "data": data, **change}) for name, change in changes.items()}


def run(name: str, recipe: Recipe, out: Path) -> Outcome:
    """Train, and score the validation split."""
    start = time.perf_counter()
    result = train(recipe, out, cpu=True, console=Console())
    seconds = time.perf_counter() - start
    assert result.scores is not None
    model = unetzoo.from_pretrained(result.folder)
    if recipe.freeze_encoder_epochs == recipe.epochs:
        model.freeze_encoder()
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Outcome(name, learning, result.scores.mean_iou, result.scores.pixel_accuracy, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    arguments = parser.parse_args()
    if "UNETZOO_DATA" not in os.environ:
        parser.error("set UNETZOO_DATA to the folder that holds msrc2/, the MSRC-v2 images")
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        made = recipes(Path(os.environ["UNETZOO_DATA"]) / "msrc2", arguments.epochs, arguments.seed)
        for place, (name, recipe) in enumerate(made.items()):
            outcomes.append(run(name, recipe, Path(folder) / str(place)))
            print(outcomes[-1].markdown(), flush=True)
    if arguments.write:
        write_text(arguments.write, page(outcomes, arguments))


def page(outcomes: list[Outcome], arguments: argparse.Namespace) -> str:
    """The page of the docs."""
    head = (
        "| encoder | learning (millions of parameters) | mean IoU | pixel accuracy | seconds |\n| --- "
        + "| --- " * 4
        + "|"
    )
    rows = "\n".join(outcome.markdown() for outcome in outcomes)
    return f"""# What pretrained weights are worth

A U-Net decoder on EfficientNet-Lite0, trained three times on the 276 training photographs of MSRC-v2 (21 classes) and
scored on the 59 of the validation split: {arguments.epochs} epochs of one 128 x 128 crop a photograph, in batches of
8, the same seed, loss, optimizer and schedule. Frozen, the encoder keeps the weights and normalization statistics that
it has from ImageNet; fine-tuned, it keeps them for {arguments.epochs // 4} epochs and then learns at a twentieth of the
decoder's rate. The run is too short for fine-tuning to make good what it upsets first: by the whole recipe, 32 epochs
of larger crops, the fine-tuned network came to 0.815 on this split and to 0.840 on the test split.

{head}
{rows}

CPU, {torch.get_num_threads()} thread(s), on a machine that other work was running on; torch {torch.__version__}, timm
{timm.__version__}, {date.today():%Y-%m-%d}. Written by
`UNETZOO_DATA=FOLDER python benchmarks/finetuning.py --epochs {arguments.epochs} --write {arguments.write}`.
"""


if __name__ == "__main__":
    main()
