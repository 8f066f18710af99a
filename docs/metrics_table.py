"""The table of docs/metrics.md: one prediction under the smoothed score per batch and under the honest one.

python docs/metrics_table.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from unetzoo.training.metrics import ConfusionMatrix, smoothed_batch_iou

NUCLEI = Path(__file__).parents[1] / "examples" / "data" / "nuclei"
BATCH = 4


def read(folder: str) -> torch.Tensor:
    """All validation images or masks, `(N, H, W)`."""
    names = (NUCLEI / "val.txt").read_text().split()
    return torch.from_numpy(np.stack([np.array(Image.open(NUCLEI / folder / f"{name}.png")) for name in names])).long()


def row(name: str, predicted: torch.Tensor, masks: torch.Tensor, outputs: int) -> str:
    """One line of the table for predicted class indices of a network with so many outputs."""
    matrix = ConfusionMatrix(outputs)
    flattering = []
    for start in range(0, len(masks), BATCH):
        guess, truth = predicted[start : start + BATCH], masks[start : start + BATCH]
        logits = F.one_hot(guess, outputs).movedim(-1, 1) * 1000.0  # probabilities of exactly zero and one
        flattering.append(smoothed_batch_iou(logits, truth))
        matrix.update(logits, truth)
    scores = matrix.scores()
    per_class = ", ".join(f"{scores.iou[label]:.2f}" for label in scores.present)
    numbers = f"{np.mean(flattering):.2f} | {scores.mean_iou:.2f} | {per_class} | {scores.pixel_accuracy:.2f}"
    return f"| {name} | {outputs} | {numbers} |"


def table() -> str:
    """The whole table in Markdown."""
    images, masks = read("images"), read("masks")
    bright = (images > images.float().mean((1, 2), keepdim=True)).long()
    lines = [
        "| prediction | outputs | smoothed, per batch | honest mIoU | IoU of background, nucleus, border | accuracy |",
        "|---|---:|---:|---:|---|---:|",
    ]
    for outputs in (3, 22):
        lines.append(row("background everywhere", torch.zeros_like(masks), masks, outputs))
        lines.append(row("nucleus where brighter than the mean", bright, masks, outputs))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
