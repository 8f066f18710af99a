"""Segment nuclei with the U-Net of denoising diffusion, from scratch or from one that `ddpm.py` has trained.

    python examples/diffusion_segmentation.py
    python examples/diffusion_segmentation.py --denoiser runs/ddpm/unet

Writes metrics.json and predictions.png to `--out`. Needs the extras `unetzoo[train,diffusion]`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import quickstart
import torch
from diffusers import UNet2DModel
from rich.console import Console

import unetzoo
from unetzoo.training.data import DataConfig, load_data

NUCLEI_ROOT = Path(__file__).parent / "data" / "nuclei"


def main() -> None:
    """Train, evaluate and write the results."""
    args = parse_args()
    console = Console()
    torch.manual_seed(args.seed)
    data = load_data(DataConfig.parse({"preset": args.data, "root": args.root, "limit": args.limit}))
    model = unetzoo.create(args.model, num_classes=3)
    if args.denoiser is not None:
        model.unet.load_state_dict(UNet2DModel.from_pretrained(args.denoiser).state_dict())
    model.reset_head(data.num_classes)
    model.to(args.device)
    losses = quickstart.train(model, data, args, console)
    scores = quickstart.evaluate(model, data.splits["val"], args.device)
    quickstart.print_scores(scores, data.classes.names, args.data, console)
    args.out.mkdir(parents=True, exist_ok=True)
    quickstart.draw_predictions(model, data.splits["val"], args.device).savefig(args.out / "predictions.png")
    report = {"mean_iou": scores.mean_iou, "pixel_accuracy": scores.pixel_accuracy, "losses": losses}
    (args.out / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse_args() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="diffusers_unet2d_tiny", help="default: %(default)s")
    parser.add_argument("--denoiser", type=Path, help="folder unet/ that ddpm.py wrote for the same model")
    parser.add_argument("--root", type=Path, default=NUCLEI_ROOT, help="folder of the nuclei set")
    parser.add_argument("--out", type=Path, default=Path("runs/diffusion_segmentation"), help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="use only the first images of each split")
    parser.add_argument("--epochs", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--crop", type=int, default=128, help="side of the training crops; default: %(default)s")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.set_defaults(data="nuclei")
    return parser.parse_args()


if __name__ == "__main__":
    main()
