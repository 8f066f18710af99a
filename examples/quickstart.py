"""Train a network of the zoo on real images, then measure and picture how it segments images it has not seen.

    python examples/quickstart.py                                  # dlinknet34 on the nuclei set beside this file
    python examples/quickstart.py unet --epochs 40 --seed 1
    python examples/quickstart.py --data msrc_v2 --root MSRC_ObjCategImageDatabase_v2

Writes the trained network, metrics.json, predictions.png and loss.png to `--out`. Needs the extra `unetzoo[train]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

import unetzoo
from unetzoo.training import ConfusionMatrix, DeepSupervision, make_loss
from unetzoo.training.augmentation import AugmentationConfig, make_augmentation
from unetzoo.training.data import DataConfig, RandomCrops, SegmentationData, SegmentationFolder, load_data
from unetzoo.training.metrics import SegmentationScores

# Up and down mean something in photographs, and nothing under the microscope.
AUGMENTATIONS = {
    "nuclei": AugmentationConfig(flip=["height", "width"], turn=True),
    "msrc_v2": AugmentationConfig(flip=["width"]),
}
NUCLEI_ROOT = Path(__file__).parent / "data" / "nuclei"
PICTURED = 4


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
    parser.add_argument("model", nargs="?", default="dlinknet34", help="name or config file; default: %(default)s")
    parser.add_argument("--data", choices=AUGMENTATIONS, default="nuclei", help="default: %(default)s")
    parser.add_argument("--root", type=Path, help="folder of the data set; default: the nuclei beside this script")
    parser.add_argument("--split", default="val", help="split to evaluate on; default: %(default)s")
    parser.add_argument("--limit", type=positive, help="use only the first images of each split")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quickstart"), help="folder to write; default: %(default)s"
    )
    parser.add_argument("--epochs", type=positive, default=24, help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=6, help="default: %(default)s")
    parser.add_argument("--crop", type=positive, default=128, help="side of the training crops; default: %(default)s")
    parser.add_argument("--lr", type=float, default=2e-3, help="highest learning rate; default: %(default)s")
    parser.add_argument(
        "--pretrained", action="store_true", help="start from published encoder weights (downloads them)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=usable_device, default=default_device, help="default: %(default)s")
    args = parser.parse_args()
    if args.root is None:
        if args.data != "nuclei":
            parser.error(f"--data {args.data} needs --root, the folder of the data set")
        args.root = NUCLEI_ROOT
    return args


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def usable_device(text: str) -> str:
    """A device that tensors can be put on, for argparse."""
    try:
        torch.empty(1, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return text


def run(args: argparse.Namespace, console: Console) -> None:
    """Load the data, train, evaluate, and write the results."""
    start = time.perf_counter()
    # cuBLAS reads this when it starts; without it matrix products differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(args.seed)

    settings = {"preset": args.data, "root": args.root, "crop": args.crop, "limit": args.limit}
    data = load_data(DataConfig.parse(settings), splits=["train", args.split])
    evaluation = data.splits[args.split]
    model = unetzoo.create(args.model, num_classes=len(data.classes), pretrained=args.pretrained).to(args.device)
    console.print(
        f"{args.model} on {args.data}: {len(data.splits['train'])} training and {len(evaluation)} {args.split} images, "
        f"{len(data.classes)} outputs, on {args.device}"
    )
    losses = train(model, data, args, console)
    scores = evaluate(model, evaluation, args.device)
    print_scores(scores, data.classes.names, f"{args.split} split of {args.data}", console)

    args.out.mkdir(parents=True, exist_ok=True)
    unetzoo.save_pretrained(model, args.out / "model")
    draw_losses(losses).savefig(args.out / "loss.png")
    draw_predictions(model, evaluation, args.device).savefig(args.out / "predictions.png")
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


def train(model: nn.Module, data: SegmentationData, args: argparse.Namespace, console: Console) -> list[float]:
    """Train in place with AdamW and a one-cycle learning rate; returns the mean loss of each epoch."""
    crops = RandomCrops(data.splits["train"], (args.crop, args.crop), args.seed)
    ignore_index = data.classes.ignore_index
    augment = make_augmentation(AUGMENTATIONS[args.data], 2, ignore_index, unit_range=data.unit_range)
    # A last batch of one crop could leave batch normalisation with a single value to normalise.
    loader = DataLoader(crops, args.batch_size, shuffle=True, drop_last=len(crops) > args.batch_size)
    steps = args.epochs * len(loader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps)
    mixture = make_loss({"cross_entropy": 1, "dice": 1}, num_classes=data.num_classes, ignore_index=ignore_index)
    loss_of = DeepSupervision(mixture)

    losses = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    model.train()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"epoch 1/{args.epochs}", total=steps)
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            crops.set_epoch(epoch)
            for batch in loader:
                images, target = augment(batch["image"].to(args.device), batch["target"].to(args.device))
                output = model(images)
                loss = loss_of(output, crop_to(target, output))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
                progress.advance(task)
            losses.append(total / len(loader))
            progress.update(task, description=f"epoch {epoch}/{args.epochs}, loss {losses[-1]:.3f}")
    return losses


def crop_to(target: Tensor, output: Tensor | list[Tensor]) -> Tensor:
    """The centre of the target (N, H, W) that the finest output covers: unpadded networks leave out a margin."""
    finest = output if isinstance(output, Tensor) else output[0]
    height, width = finest.shape[2:]
    top, left = (target.shape[1] - height) // 2, (target.shape[2] - width) // 2
    return target[:, top : top + height, left : left + width]


@torch.no_grad()
def evaluate(model: nn.Module, samples: SegmentationFolder, device: str) -> SegmentationScores:
    """The scores over all pixels of a split together, void left out, image by image at full size."""
    model.eval()
    counts = ConfusionMatrix(len(samples.classes), ignore_index=samples.classes.ignore_index)
    for index in range(len(samples)):
        sample = samples[index]
        logits = model(sample["image"][None].to(device)).cpu()
        counts.update(logits, crop_to(sample["target"][None], logits))
    return counts.scores()


def print_scores(scores: SegmentationScores, names: Sequence[str], title: str, console: Console) -> None:
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


@torch.no_grad()
def draw_predictions(model: nn.Module, samples: SegmentationFolder, device: str) -> Figure:
    """Image, truth and prediction side by side, for samples spread over a split; void is black."""
    model.eval()
    chosen = range(0, len(samples), max(1, len(samples) // PICTURED))[:PICTURED]
    figure = Figure(figsize=(9, 3 * len(chosen)), layout="constrained")
    for row, index in zip(figure.subplots(len(chosen), 3, squeeze=False), chosen, strict=True):
        sample = samples[index]
        prediction = model(sample["image"][None].to(device))[0].argmax(0).cpu()
        image = sample["image"].movedim(0, -1).numpy()
        pictures = {
            sample["name"]: (image - image.min()) / max(image.max() - image.min(), 1e-6),
            "truth": samples.classes.colour(sample["target"].numpy()),
            "prediction": samples.classes.colour(prediction.numpy()),
        }
        for axes, (title, picture) in zip(row, pictures.items(), strict=True):
            axes.imshow(picture)
            axes.set_title(title)
            axes.set_axis_off()
    return figure


if __name__ == "__main__":
    sys.exit(main())
