"""Progress of a run: a progress bar, rows of metrics, and TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unetzoo.training.learner import StepReport
from unetzoo.training.metrics import SegmentationScores
from unetzoo.training.recipe import Recipe
from unetzoo.training.runs import RunFolder
from unetzoo.training.state import Position

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

WINDOW = 20  # steps that the pace shown is averaged over
GIBIBYTE = 2**30


class Reporter:
    """Reports a run's steps and evaluations.

    Args:
        folder: where the metrics go.
        recipe: of the run.
        console: where the progress bar goes; default: nowhere.
        done: steps that are over.
        steps_per_epoch, samples_per_step: of all processes together.
        device: whose memory is shown.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        console: Console | None,
        *,
        done: int,
        steps_per_epoch: int,
        samples_per_step: int,
        device: torch.device,
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._console = console or Console(quiet=True)
        self._steps_per_epoch = steps_per_epoch
        self._samples_per_step = samples_per_step
        self._device = device
        self._times: list[float] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("training", total=recipe.epochs * steps_per_epoch, completed=done)
        self._board: SummaryWriter | None = None
        if recipe.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=done + 1)

    def step(self, position: Position, report: StepReport) -> None:
        """Report a finished step."""
        row = {"loss": report.loss, "lr": report.lr}
        if math.isfinite(report.gradient_norm):  # not where the loss scaler has skipped the step
            row["gradient_norm"] = report.gradient_norm
        epoch = (position.total - 1) // self._steps_per_epoch + 1
        self._folder.add({"step": position.total, "epoch": epoch, **row})
        self._plot("train", row, position.total)
        self._times = [*self._times[-WINDOW:], time.monotonic()]
        text = f"epoch {epoch}/{self._recipe.epochs}  loss {report.loss:.3f}  rate {report.lr:.1e}"
        self._bar.update(self._task, completed=position.total, description=f"{text}{self._pace()}  {self._memory()}")

    def evaluation(self, position: Position, scores: SegmentationScores, names: Sequence[str]) -> None:
        """Report the scores of the validation split."""
        means = {name: getattr(scores, name) for name in ("mean_iou", "mean_dice", "pixel_accuracy")}
        iou = {names[label]: value for label, value in scores.iou.items()}
        self._folder.add({"step": position.total, "epoch": position.epoch, **means, "iou": iou})
        self._plot("val", means, position.total)
        best = "  best so far" if position.stale == 0 else ""
        self._console.print(
            f"epoch {position.epoch:>3}  mean IoU {scores.mean_iou:.4f}  "
            f"pixel accuracy {scores.pixel_accuracy:.4f}{best}",
            highlight=False,
        )

    def __enter__(self) -> Reporter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def _plot(self, group: str, values: dict[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)

    def _pace(self) -> str:
        if len(self._times) < 2:
            return ""
        seconds = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return f"  {self._samples_per_step / seconds:.1f} images/s"

    def _memory(self) -> str:
        if self._device.type == "cuda":
            return f"{torch.cuda.max_memory_allocated(self._device) / GIBIBYTE:.1f} GiB"
        return f"{psutil.Process().memory_info().rss / GIBIBYTE:.1f} GiB"
