"""Find what stands out in photographs with U²-Net and its authors' weights, and cut it out.

    python examples/saliency.py PHOTOGRAPHS... --weights u2net.pth
    python examples/saliency.py PHOTOGRAPHS... --model u2netp --weights official      # fetched from the authors
    python examples/saliency.py images/ --weights u2net.pth --truth masks/            # scored against drawn masks

Images are brought to 320 x 320 as in training (Qin et al. 2020, section 4.1), the map back to the image's size. Writes
NAME_saliency.png and NAME_cutout.png, the photograph with the map as its opacity, and with `--truth` metrics.json.
Needs the extra `unetzoo[train]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import unetzoo
from unetzoo.cli.predicting import find_images
from unetzoo.images.whole import read_image
from unetzoo.preprocessing import Preprocessing

SIZE = 320


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
    parser.add_argument("images", nargs="+", type=Path, help="photographs, or folders of them")
    parser.add_argument("--model", choices=["u2net", "u2netp"], default="u2net", help="default: %(default)s")
    parser.add_argument("--weights", required=True, help="file of weights, or 'official' to fetch the authors'")
    parser.add_argument("--truth", type=Path, help="folder of masks, NAME.png, white where the object is")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/saliency"), help="default: %(default)s")
    return parser.parse_args()


def run(args: argparse.Namespace, console: Console) -> None:
    """Write the pictures, and score them if there are masks."""
    paths = find_images(args.images)
    model = unetzoo.create(args.model, checkpoint=args.weights).eval().to(args.device)
    prepare = unetzoo.info(args.model).checkpoints["official"].preprocessing
    assert prepare is not None
    args.out.mkdir(parents=True, exist_ok=True)
    scores = {}
    for path in paths:
        photograph = torch.from_numpy(read_image(path, channels="rgb")).permute(2, 0, 1)
        saliency = salient(model, prepare, photograph, args.device)
        opacity = to_bytes(saliency)
        Image.fromarray(opacity).save(args.out / f"{path.stem}_saliency.png")
        cutout = np.dstack([to_bytes(photograph.permute(1, 2, 0)), opacity])
        Image.fromarray(cutout).save(args.out / f"{path.stem}_cutout.png")
        if args.truth is not None:
            scores[path.stem] = score(saliency, args.truth / f"{path.stem}.png")
    console.print(f"{len(paths)} photographs, written to {args.out}", highlight=False)
    if scores:
        means = {key: float(np.mean([one[key] for one in scores.values()])) for key in ("iou", "mean_absolute_error")}
        text = json.dumps({"mean": means, "photographs": scores}, indent=2)
        (args.out / "metrics.json").write_text(text + "\n", encoding="utf-8")
        console.print(f"IoU {means['iou']:.3f}, mean absolute error {means['mean_absolute_error']:.3f}")


@torch.no_grad()
def salient(model: nn.Module, prepare: Preprocessing, photograph: Tensor, device: str) -> Tensor:
    """How much each pixel of a photograph (3, H, W) stands out, (H, W), from 0 to 1 within the photograph."""
    scaled = resize(photograph, (SIZE, SIZE))
    logits = model(prepare(scaled.to(device)))
    saliency = resize(logits[0].sigmoid().cpu(), photograph.shape[1:])[0]
    return (saliency - saliency.min()) / (saliency.max() - saliency.min()).clamp_min(1e-6)


def resize(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """An image (C, H, W) at another size, bilinear, smoothed where it shrinks."""
    return nn.functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def score(saliency: Tensor, mask: Path) -> dict[str, float]:
    """IoU at one half, and the mean absolute error, against a drawn mask."""
    truth = torch.from_numpy(read_image(mask, channels="gray"))[..., 0]
    if truth.shape != saliency.shape:
        raise unetzoo.InputError(f"{mask}: the mask is {tuple(truth.shape)}, its photograph {tuple(saliency.shape)}")
    found, drawn = saliency > 0.5, truth > 0.5
    union = (found | drawn).sum().item()
    return {
        "iou": (found & drawn).sum().item() / union if union else 1.0,
        "mean_absolute_error": (saliency - truth).abs().mean().item(),
    }


def to_bytes(values: Tensor) -> np.ndarray:
    """Values from 0 to 1 as bytes."""
    return (values * 255).round().byte().numpy()


if __name__ == "__main__":
    sys.exit(main())
