"""Train by one recipe with one key at several values and with several seeds; put the scores on one split in a table.

    python benchmarks/compare.py examples/recipes/nuclei_unet.yaml --seeds 0 1 2 \\
        --vary model.decoder.skip=concat model.decoder.skip=none --out runs/skips
    python benchmarks/compare.py examples/recipes/msrc_v2.yaml --split test --set data.root=MSRC_v2 \\
        --vary loss=dice loss=cross_entropy "loss={cross_entropy: 1, dice: 1}" --out runs/losses

Every run keeps its folder, `--out`/VALUE/SEED, and is gone on with if the script is started again. Writes scores.json
and table.md to `--out`. Needs the extra `unetzoo[train]`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

import unetzoo
from unetzoo.cli.options import parse_overrides
from unetzoo.nn.evaluation import evaluating
from unetzoo.training import Recipe, evaluate, load_data, read_recipe, train
from unetzoo.training.metrics import SegmentationScores

COLUMNS = {"mean_iou": "mean IoU", "mean_dice": "mean Dice", "pixel_accuracy": "pixel accuracy"}


def main() -> int:
    """Run the script; returns the exit code."""
    args = parse_args()
    try:
        run(args, Console())
    except (unetzoo.UnetzooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse_args() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a YAML file")
    parser.add_argument("--vary", nargs="+", required=True, metavar="KEY=VALUE", help="what to compare")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--split", default="val", help="split to score; default: %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe")
    parser.add_argument("--precision", choices=["no", "fp16", "bf16"], help="of training; default: as launched")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even where there is a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="default: %(default)s")
    return parser.parse_args()


def run(args: argparse.Namespace, console: Console) -> None:
    """Train with every change and seed, and write the table.

    Raises `ConfigError` for two changes that come to the same recipe: mappings are merged, so `loss={dice: 1}` adds to
    the losses of the recipe, where `loss=dice` takes their place.
    """
    recipes = [recipe_of(change, args.seeds[0], args) for change in args.vary]
    for place, change in enumerate(args.vary):
        if recipes[place] in recipes[:place]:
            raise unetzoo.ConfigError(f"--vary {change} comes to the same recipe as a change before it")
    rows: dict[str, list[dict[str, float]]] = {}
    for change in args.vary:
        for seed in args.seeds:
            scores = score(change, seed, args, console)
            rows.setdefault(change, []).append({key: getattr(scores, key) for key in COLUMNS})
    text = table(rows, args.split)
    (args.out / "scores.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (args.out / "table.md").write_text(text, encoding="utf-8")
    console.print(text, markup=False, highlight=False)


def recipe_of(change: str, seed: int, args: argparse.Namespace) -> Recipe:
    """The recipe with one change and one seed."""
    return read_recipe(args.recipe, parse_overrides([*args.set, change, f"seed={seed}"]))


def score(change: str, seed: int, args: argparse.Namespace, console: Console) -> SegmentationScores:
    """Train with one change and one seed; the scores of the network over all pixels of the split."""
    recipe = recipe_of(change, seed, args)
    folder = args.out / re.sub(r"[^\w.]+", "-", change).strip("-") / str(seed)
    result = train(recipe, folder, resume=True, precision=args.precision, cpu=args.cpu, console=console)
    data = load_data(recipe.data, [args.split])
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    model = unetzoo.from_pretrained(result.folder).to(device)
    with evaluating(model):
        samples, normalize = data.splits[args.split], data.normalize
        return evaluate(model, samples, normalize, device, num_classes=model.num_classes)


def table(rows: dict[str, list[dict[str, float]]], split: str) -> str:
    """Mean and standard deviation over the seeds, as a table in Markdown."""
    lines = [f"| | seeds | {' | '.join(f'{name}, {split}' for name in COLUMNS.values())} |"]
    lines.append("|---|---:|" + "---:|" * len(COLUMNS))
    for change, scores in rows.items():
        cells = [spread([score[key] for score in scores]) for key in COLUMNS]
        lines.append(f"| {change} | {len(scores)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and, of several values, their standard deviation."""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    sys.exit(main())
