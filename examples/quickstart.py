"""Train a network of the zoo on real images, then measure and picture how it segments images it has not seen.

    python examples/quickstart.py                                  # dlinknet34 on the nuclei set beside this file
    python examples/quickstart.py unet --epochs 40 --seed 1
    python examples/quickstart.py --data msrc_v2 --root MSRC_ObjCategImageDatabase_v2 --split test

It follows the recipes beside it, as `unetzoo train` does. Writes the trained network, metrics.json, predictions.png and
loss.png to `--out`, beside what every run leaves there. Needs the extra `unetzoo[train]`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import unetzoo
from unetzoo.training.data import load_data
from unetzoo.training.evaluation import evaluate
from unetzoo.training.loop import train
from unetzoo.training.metrics import SegmentationScores
from unetzoo.training.recipe import Recipe, read_recipe
from unetzoo.training.runs import RunFolder

RECIPES = Path(__file__).parent / "recipes"


def main() -> int:
    """Run the script; returns the exit code."""
    args = parse_args()
    console = Console()
    try:
        run(args, console)
    except unetzoo.UnetzooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse_args() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="name or config file; default: dlinknet34")
    parser.add_argument("--data", choices=["nuclei", "msrc_v2"], default="nuclei", help="default: %(default)s")
    parser.add_argument("--root", type=Path, help="folder of the data set; default: the nuclei beside this script")
    parser.add_argument("--split", default="val", help="split to evaluate on; default: %(default)s")
    parser.add_argument("--limit", type=int, help="use only the first images of each split")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quickstart"), help="folder to write; default: %(default)s"
    )
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--batch-size", type=int, help="default: the recipe's")
    parser.add_argument("--crop", type=int, help="side of the training crops; default: the recipe's")
    parser.add_argument("--lr", type=float, help="highest learning rate; default: the recipe's")
    parser.add_argument(
        "--pretrained", action="store_true", help="start from published encoder weights (downloads them)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even where there is a GPU")
    args = parser.parse_args()
    if args.root is None and args.data != "nuclei":
        parser.error(f"--data {args.data} needs --root, the folder of the data set")
    return args


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe of the data set, with what the command line says otherwise."""
    config = args.model and Path(args.model).suffix in (".yaml", ".yml")
    changes = {
        "model": {"name": str(Path(args.model).resolve()) if config else args.model, "pretrained": args.pretrained},
        "data": {"root": args.root and str(args.root), "limit": args.limit, "crop": args.crop},
        "optimizer": {"lr": args.lr},
    }
    given = {key: {name: value for name, value in group.items() if value} for key, group in changes.items()}
    single = {"epochs": args.epochs, "batch_size": args.batch_size, "seed": args.seed}
    given |= {name: value for name, value in single.items() if value is not None}
    return read_recipe(RECIPES / f"{args.data}.yaml", given)


def run(args: argparse.Namespace, console: Console) -> None:
    """Train, evaluate, and write the results; a run that was interrupted is taken up where it was left."""
    start = time.perf_counter()
    recipe = recipe_of(args)
    data = load_data(recipe.data, [args.split])
    samples = data.splits[args.split]
    network = unetzoo.from_pretrained(train(recipe, args.out, resume=True, cpu=args.cpu, console=console).folder)
    scores = evaluate(network, samples, data.normalize, torch.device("cpu"), num_classes=network.num_classes)
    print_scores(scores, data.classes.names, f"{args.split} split of {args.data}", console)

    losses = mean_losses(RunFolder(args.out))
    draw_losses(losses).savefig(args.out / "loss.png")
    report = {
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "iou": {name: scores.iou.get(label) for label, name in enumerate(data.classes.names)},
        "mean_iou": scores.mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
        "losses": losses,
        "seconds": round(time.perf_counter() - start, 1),
    }
    (args.out / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"wrote model/, metrics.json, predictions.png and loss.png to {args.out}; {report['seconds']} s")


def mean_losses(folder: RunFolder) -> list[float]:
    """The mean training loss of each epoch."""
    epochs: dict[object, list[float]] = defaultdict(list)
    for row in folder.rows():
        if isinstance(row.get("loss"), float):
            epochs[row["epoch"]].append(row["loss"])
    return [sum(losses) / len(losses) for losses in epochs.values()]


def print_scores(scores: SegmentationScores, names: tuple[str, ...], title: str, console: Console) -> None:
    """Print the IoU of each class and the means."""
    table = Table("class", title=title)
    table.add_column("IoU", justify="right")
    for label, name in enumerate(names):
        table.add_row(name, f"{scores.iou[label]:.4f}" if label in scores.iou else "not in the split")
    table.add_section()
    table.add_row("mean IoU", f"{scores.mean_iou:.4f}")
    table.add_row("pixel accuracy", f"{scores.pixel_accuracy:.4f}")
    console.print(table)


def draw_losses(losses: list[float]) -> Figure:
    """The mean training loss of each epoch."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="training loss: cross-entropy + Dice")
    axes.plot(range(1, len(losses) + 1), losses, marker="o")
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    sys.exit(main())
