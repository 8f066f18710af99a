"""Pictures of a run: its curves, and what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import Dataset

from unetzoo.applied import Classes
from unetzoo.files import replacing
from unetzoo.nn.evaluation import evaluating
from unetzoo.training.cropping import center_crop
from unetzoo.training.data import Sample
from unetzoo.training.metrics.confusion import predicted_classes

SHOWN = 4
OPACITY = 0.6


def draw_curves(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Loss and learning rate of every step, and the scores of every evaluation, from a run's rows of metrics."""
    steps = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "mean_iou" in row]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    curves: list[tuple[str, Sequence[Mapping[str, object]], list[str]]] = [
        ("training loss", steps, ["loss"]),
        ("validation scores", evaluations, ["mean_iou", "mean_dice", "pixel_accuracy"]),
        ("learning rate", steps, ["lr"]),
    ]
    for axes, (title, source, names) in zip(figure.subplots(1, 3), curves, strict=True):
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        for name in names:
            axes.plot([row["step"] for row in source], [row[name] for row in source], label=name.replace("_", " "))
        if len(names) > 1:
            axes.legend()
    return figure


@torch.no_grad()
def draw_predictions(
    network: nn.Module,
    samples: Dataset[Sample],
    classes: Classes,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Figure:
    """Image, truth and prediction side by side, for samples spread over the split; of volumes the middle slice.

    The classes lie in their colors over the image; pixels without a class are black.
    """
    count = len(samples)  # type: ignore[arg-type]
    chosen = range(0, count, max(1, count // SHOWN))[:SHOWN]
    rows = []
    with evaluating(network):
        for sample in map(samples.__getitem__, chosen):
            logits = network(normalize(sample["image"][None].to(device)))
            target = center_crop(sample["target"][None], logits)[0]
            picture = _as_picture(center_crop(sample["image"], logits.expand(1, -1, *logits.shape[2:])))
            labels = _middle(predicted_classes(logits)[0].cpu())
            truth, prediction = (overlay(picture, classes.color(of.numpy())) for of in (_middle(target), labels))
            rows.append({sample["name"]: picture, "truth": truth, "prediction": prediction})
    return _table(rows)


def _table(rows: list[dict[str, npt.NDArray[np.floating]]]) -> Figure:
    """Pictures of one size a row under their titles, each row as high as its pictures."""
    shapes = [next(iter(panels.values())).shape for panels in rows]
    heights = [3 * height / width + 0.3 for height, width, _ in shapes]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for row, panels in zip(grid, rows, strict=True):
        for axes, (title, panel) in zip(row, panels.items(), strict=True):
            axes.imshow(panel)
            axes.set_title(title)
            axes.set_axis_off()
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _middle(labels: Tensor) -> Tensor:
    """Labels (H, W), or of a volume (D, H, W) the slice in the middle."""
    return labels if labels.ndim == 2 else labels[len(labels) // 2]


def _as_picture(image: Tensor) -> npt.NDArray[np.float64]:
    """An image (C, *spatial) as gray or red, green, blue (H, W, 3) from 0 to 1."""
    channels = [_middle(channel) for channel in image[: 3 if len(image) >= 3 else 1]]
    picture = torch.stack(channels * (3 // len(channels)), -1).double()
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low).clamp_min(1e-12)).numpy()


def overlay(picture: npt.NDArray[np.floating], colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
    """A picture (H, W, 1 or 3) from 0 to 1 under the colors (H, W, 3) of its classes."""
    return (1 - OPACITY) * picture + (OPACITY / 255) * colors.astype(picture.dtype)
