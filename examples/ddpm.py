"""Train the U-Net of denoising diffusion on crops of real images, with a scheduler of diffusers, and draw samples.

    python examples/ddpm.py                          # 32 x 32 pixels, from the nuclei set beside this file
    python examples/ddpm.py --size 64 --steps 20000 --model diffusers_unet2d
    python examples/ddpm.py --images photographs --reduce 4

Writes samples.png, loss.json and the folder unet/, which diffusers' `UNet2DModel.from_pretrained` loads, to `--out`.
The samples and unet/ are of the running average of the weights. Needs the extras `unetzoo[train,diffusion]`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import unetzoo

NUCLEI = Path(__file__).parent / "data" / "nuclei" / "images"
GRID = 6


def main() -> None:
    """Train, sample and write the results."""
    args = parse_args()
    torch.manual_seed(args.seed)
    images = [read(path, args.reduce) for path in sorted(args.images.glob("*.[pj][np]g"))]
    model = unetzoo.create(args.model, num_classes=3).to(args.device)
    scheduler = DDPMScheduler(num_train_timesteps=args.timesteps)
    averaged, losses = train(model, images, scheduler, args)
    args.out.mkdir(parents=True, exist_ok=True)
    averaged.unet.save_pretrained(args.out / "unet")
    (args.out / "loss.json").write_text(json.dumps(losses) + "\n", encoding="utf-8")
    draw(sample(averaged, scheduler, args.samples, args.size, args.device)).save(args.out / "samples.png")
    Console().print(f"loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last; wrote {args.out}")


def parse_args() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="diffusers_unet2d_tiny", help="default: %(default)s")
    parser.add_argument("--images", type=Path, default=NUCLEI, help="folder of PNG or JPG images; default: the nuclei")
    parser.add_argument("--reduce", type=int, default=2, help="how often smaller to make them; default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/ddpm"), help="folder to write; default: %(default)s")
    parser.add_argument("--size", type=int, default=32, help="side of the crops; default: %(default)s")
    parser.add_argument("--steps", type=int, default=1500, help="optimizer steps; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--timesteps", type=int, default=1000, help="steps of the diffusion; default: %(default)s")
    parser.add_argument("--samples", type=int, default=24, help="how many to draw; default: %(default)s")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate; default: %(default)s")
    parser.add_argument("--average", type=float, default=0.995, help="decay of the average; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def read(path: Path, reduce: int) -> Tensor:
    """An image (3, H, W), made smaller, from its darkest value at -1 to its brightest at 1."""
    with Image.open(path) as file:
        pixels = np.array(file.convert("RGB").reduce(reduce), dtype=np.float32)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    low, high = image.amin(), image.amax()
    return (image - low) / (high - low).clamp_min(1) * 2 - 1


def train(
    model: unetzoo.DenseModel, images: list[Tensor], scheduler: DDPMScheduler, args: argparse.Namespace
) -> tuple[unetzoo.DenseModel, list[float]]:
    """Train to predict the noise (Ho et al., 2020, algorithm 1); the averaged model, the mean loss of each tenth."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.average))
    losses: list[float] = []
    model.train()
    for _ in track(range(args.steps), "denoising"):
        clean = torch.stack([crop(images, args.size) for _ in range(args.batch_size)]).to(args.device)
        noise = torch.randn_like(clean)
        timesteps = torch.randint(args.timesteps, (len(clean),), device=args.device)
        predicted = model(scheduler.add_noise(clean, noise, timesteps), timesteps)
        loss = torch.nn.functional.mse_loss(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        average.update_parameters(model)
        losses.append(loss.item())
    return average.module, [float(np.mean(part)) for part in np.array_split(losses, min(10, len(losses)))]


def crop(images: list[Tensor], size: int) -> Tensor:
    """A random square of a random image, mirrored at random."""
    image = images[int(torch.randint(len(images), ()))]
    top, left = (int(torch.randint(side - size + 1, ())) for side in image.shape[1:])
    square = image[:, top : top + size, left : left + size]
    return square.flip(2) if torch.rand(()) < 0.5 else square


@torch.no_grad()
def sample(model: unetzoo.DenseModel, scheduler: DDPMScheduler, count: int, size: int, device: str) -> Tensor:
    """Images (count, 3, size, size) from noise (Ho et al., 2020, algorithm 2)."""
    model.eval()
    x = torch.randn(count, 3, size, size, device=device)
    for timestep in track(scheduler.timesteps, "sampling"):
        x = scheduler.step(model(x, timestep), timestep, x).prev_sample
    return x.clamp(-1, 1).cpu()


def draw(images: Tensor) -> Image.Image:
    """Images (N, 3, H, W) from -1 to 1, on a grid, three times their size."""
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(pixels[start : start + GRID]), axis=1) for start in range(0, len(pixels), GRID)]
    width = max(row.shape[1] for row in rows)
    grid = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    picture = Image.fromarray(grid)
    return picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
