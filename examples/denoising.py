"""Take noise off images with a U-Net that predicts the noise, and measure the peak signal-to-noise ratio.

    python examples/denoising.py                        # the nuclei beside this file
    python examples/denoising.py --root PHOTOGRAPHS     # any folder with images/, train.txt and val.txt

The network sees an image plus white Gaussian noise and learns the noise, which is then taken off, as in DnCNN (Zhang et
al., "Beyond a Gaussian Denoiser", TIP 2017, section III-A). Beside it stands the Gaussian blur that does best on the
training images. Writes model/, metrics.json and denoised.png to `--out`. Needs the extra `unetzoo[train]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional

import unetzoo

NUCLEI_ROOT = Path(__file__).parent / "data" / "nuclei"
PICTURED = 3
BLURS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)

Denoiser = Callable[[Tensor], Tensor]


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
    parser.add_argument("model", nargs="?", default="unet", help="name or config file; default: %(default)s")
    parser.add_argument("--root", type=Path, default=NUCLEI_ROOT, help="folder with images/ and lists of their names")
    parser.add_argument("--noise", type=float, default=25.0, help="standard deviation of 255; default: %(default)s")
    parser.add_argument("--width", type=int, default=16, help="channels of the finest level; default: %(default)s")
    parser.add_argument("--steps", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--crop", type=int, default=64, help="side of the training crops; default: %(default)s")
    parser.add_argument("--lr", type=float, default=2e-3, help="highest learning rate; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/denoising"), help="default: %(default)s")
    return parser.parse_args()


def run(args: argparse.Namespace, console: Console) -> None:
    """Train, measure on the validation images, and write the results."""
    torch.manual_seed(args.seed)
    train, val = (read_split(args.root, split, args.crop) for split in ("train", "val"))
    channels = [args.width * 2**level for level in range(4)]
    model = unetzoo.create(args.model, in_channels=1, num_classes=1, encoder={"channels": channels}).to(args.device)
    losses = fit(model, train, args, console)
    ratios = {
        "noisy": measure(lambda noisy: noisy, val, args),
        "blurred": measure(best_blur(train, args), val, args),
        "denoised": measure(denoiser(model, args), val, args),
    }
    console.print(f"{len(val)} images: " + ", ".join(f"{name} {ratio:.2f} dB" for name, ratio in ratios.items()))

    args.out.mkdir(parents=True, exist_ok=True)
    unetzoo.save_pretrained(model, args.out / "model")
    draw(model, val[:: max(1, len(val) // PICTURED)][:PICTURED], args).savefig(args.out / "denoised.png")
    report = {"psnr": ratios, "noise": args.noise, "losses": losses}
    (args.out / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read_split(root: Path, split: str, least: int) -> list[Tensor]:
    """The images that a list names, as brightness (1, H, W) in [0, 1]; none smaller than `least`."""
    images = []
    for name in (root / f"{split}.txt").read_text(encoding="utf-8").split():
        found = sorted((root / "images").glob(f"{name}.*"))
        if len(found) != 1:
            raise unetzoo.InputError(f"{split}.txt names {name!r}; {root / 'images'} holds {len(found)} such files")
        with Image.open(found[0]) as picture:
            pixels = torch.from_numpy(np.asarray(picture.convert("L"), np.float32)) / 255
        if min(pixels.shape) < least:
            raise unetzoo.InputError(f"{found[0]} has {tuple(pixels.shape)} pixels; expected {least} or more a side")
        images.append(pixels[None])
    return images


def add_noise(clean: Tensor, args: argparse.Namespace, generator: torch.Generator | None = None) -> Tensor:
    """White Gaussian noise of the chosen deviation on top; on the CPU, so that it is the same on every device."""
    return clean + args.noise / 255 * torch.randn(clean.shape, generator=generator)


def fit(model: nn.Module, images: list[Tensor], args: argparse.Namespace, console: Console) -> list[float]:
    """Train in place on random crops to predict the noise; returns the loss of each step.

    Images are given in units of the noise's deviation, so that what is to be learned has a deviation of one.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps)
    unit = args.noise / 255
    losses = []
    model.train()
    for _ in track(range(args.steps), "training", console=console):
        picks = torch.randint(len(images), (args.batch_size,))
        clean = torch.stack([random_crop(images[pick], args.crop) for pick in picks])
        noisy = add_noise(clean, args)
        loss = functional.mse_loss(model(noisy.to(args.device) / unit), (noisy - clean).to(args.device) / unit)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def random_crop(image: Tensor, size: int) -> Tensor:
    """A square of an image (1, H, W)."""
    top, left = (int(torch.randint(extent - size + 1, ())) for extent in image.shape[1:])
    return image[:, top : top + size, left : left + size]


def denoiser(model: nn.Module, args: argparse.Namespace) -> Denoiser:
    """Takes off an image (1, H, W) the noise that the network sees in it."""
    model.eval()

    @torch.no_grad()
    def denoise(noisy: Tensor) -> Tensor:
        unit = args.noise / 255
        return (noisy - unit * model(noisy[None].to(args.device) / unit)[0].cpu()).clamp(0, 1)

    return denoise


def best_blur(images: list[Tensor], args: argparse.Namespace) -> Denoiser:
    """The Gaussian blur that does best on some images."""

    def blur(deviation: float) -> Denoiser:
        return lambda noisy: torch.from_numpy(gaussian_filter(noisy.numpy(), (0, deviation, deviation)))

    return max(map(blur, BLURS), key=lambda denoise: measure(denoise, images, args))


def measure(denoise: Denoiser, images: list[Tensor], args: argparse.Namespace) -> float:
    """The mean peak signal-to-noise ratio of the images in decibels; the same noise at every call."""
    generator = torch.Generator().manual_seed(args.seed)
    return float(np.mean([psnr(denoise(add_noise(clean, args, generator)), clean) for clean in images]))


def psnr(image: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, for a peak of 1."""
    return float(-10 * torch.log10(functional.mse_loss(image, clean)))


def draw(model: nn.Module, images: list[Tensor], args: argparse.Namespace) -> Figure:
    """Clean, noisy and denoised, side by side."""
    generator = torch.Generator().manual_seed(args.seed)
    denoise = denoiser(model, args)
    figure = Figure(figsize=(9, 3 * len(images)), layout="constrained")
    for row, clean in zip(figure.subplots(len(images), 3, squeeze=False), images, strict=True):
        noisy = add_noise(clean, args, generator)
        pictures = {"clean": clean, "noisy": noisy, "denoised": denoise(noisy)}
        for axes, (title, picture) in zip(row, pictures.items(), strict=True):
            axes.imshow(picture[0], cmap="gray", vmin=0, vmax=float(clean.max()))
            axes.set_title(f"{title}, {psnr(picture, clean):.1f} dB" if title != "clean" else title)
            axes.set_axis_off()
    return figure


if __name__ == "__main__":
    sys.exit(main())
