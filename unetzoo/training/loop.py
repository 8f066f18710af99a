"""The training loop: epochs of steps, each evaluated and kept, resumable after any step."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from unetzoo.errors import ConfigError, TrainingError
from unetzoo.nn.evaluation import evaluating
from unetzoo.pretrained import from_pretrained
from unetzoo.training.data import RandomCrops, load_data
from unetzoo.training.data.fingerprint import fingerprint
from unetzoo.training.determinism import deterministic, seed_everything
from unetzoo.training.evaluation import evaluate
from unetzoo.training.failures import NonFiniteError, explained
from unetzoo.training.launching import make_accelerator
from unetzoo.training.learner import Learner
from unetzoo.training.metrics import SegmentationScores
from unetzoo.training.pictures import draw_curves, draw_predictions, save_figure
from unetzoo.training.progress import Reporter
from unetzoo.training.recipe import Recipe, anchored
from unetzoo.training.runs import RunFolder
from unetzoo.training.sampling import Batches
from unetzoo.training.state import Launch, Position, load_state, save_state


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        folder: the folder of the trained network, for `unetzoo.from_pretrained`.
        scores: of that network on the validation split; None without one.
        steps: steps of the optimizer.
        stopped_early: whether the scores had ceased to improve.
    """

    folder: Path
    scores: SegmentationScores | None
    steps: int
    stopped_early: bool


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    changed_data: bool = False,
    precision: str | None = None,
    cpu: bool = False,
    console: Console | None = None,
) -> RunResult:
    """Train by a recipe, and leave network, metrics, pictures and checkpoints in `out`.

    Devices and processes are those that `accelerate launch` gives; without it, the one GPU there is, or the CPU.

    Args:
        recipe: what to learn and how.
        out: the folder of the run, which must hold none yet unless `resume`.
        resume: go on from the last checkpoint in `out`, if there is one; the result is that of a run never stopped.
        changed_data: resume although samples were added, removed or changed since the run began: it learns from what is
            there now, and its scores before and after are not of the same data.
        precision: `no`, `fp16` or `bf16`; default: as launched.
        cpu: train on the CPU whatever there is.
        console: where progress is shown; default: nowhere.

    Raises `ConfigError` if the folder holds another run, or one of other data, or a run is at work in it, `InputError`
    for data that cannot be trained on, `CheckpointError` for a checkpoint that cannot be read or written, and
    `TrainingError` for a loss that is not finite or memory that does not suffice.
    """
    # The recipe is kept in the folder of the run, where its relative paths would mean others.
    recipe = anchored(recipe)
    run = RunFolder(out)
    run.check(recipe, resume=resume)
    accelerator = make_accelerator(recipe, precision=precision, cpu=cpu)
    held = run.held(recipe, resume=resume) if accelerator.is_main_process else nullcontext()
    with held, deterministic() if recipe.deterministic else nullcontext(), explained(recipe, run.last):
        return _Run(recipe, run, accelerator, resume, changed_data, console).go()


class _Run:
    """One run, from the first step or from where it was left."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        accelerator: Accelerator,
        resume: bool,
        changed_data: bool,
        console: Console | None,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.accelerator = accelerator
        self.data = load_data(recipe.data)
        if self.data.train is None:
            raise ConfigError(f"the data has no split 'train' (splits: {', '.join(self.data.splits)})")
        files = fingerprint(self.data)
        if not changed_data:
            folder.check_data(files)
        size = recipe.data.crop_size
        self.samples = self.data.train if size is None else RandomCrops(self.data.train, size, recipe.seed)
        self.batches = Batches(
            len(self.data.train),
            recipe.batch_size,
            accumulate=recipe.accumulate,
            seed=recipe.seed,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        self.loader = DataLoader(
            self.samples,
            batch_sampler=self.batches,
            num_workers=recipe.workers,
            pin_memory=accelerator.device.type == "cuda",
        )
        seed_everything(recipe.seed)
        self.learner = Learner(recipe, self.data, accelerator, self.batches.steps)
        self.position = Position()
        if resume and folder.last.exists():
            self.position, state = load_state(folder.last, self._launch)
            self.learner.load(state)
        accelerator.wait_for_everyone()  # all have read the folder before one changes it
        if accelerator.is_main_process:
            folder.prepare(recipe, files, self.position.total)
        accelerator.wait_for_everyone()
        self.reporter = self._reporter(console) if accelerator.is_main_process else None

    def go(self) -> RunResult:
        """Train to the end."""
        with self.reporter or nullcontext():
            while self.position.epoch < self.recipe.epochs and not self._stale:
                self._epoch()
        return self._finish()

    def _reporter(self, console: Console | None) -> Reporter:
        return Reporter(
            self.folder,
            self.recipe,
            console,
            done=self.position.total,
            steps_per_epoch=self.batches.steps,
            samples_per_step=self.recipe.batch_size * self.recipe.accumulate * self.accelerator.num_processes,
            device=self.accelerator.device,
        )

    @property
    def _launch(self) -> Launch:
        return Launch(self.accelerator.num_processes, sharded=self.accelerator.is_fsdp2)

    @property
    def _stale(self) -> bool:
        return self.recipe.early_stopping is not None and self.position.stale >= self.recipe.early_stopping

    def _epoch(self) -> None:
        position = self.position
        self.batches.start(position.epoch, position.step)
        if isinstance(self.samples, RandomCrops):
            self.samples.set_epoch(position.epoch)
        self.learner.begin_epoch(position.epoch)
        loader = iter(self.loader)
        while position.step < self.batches.steps:
            try:
                report = self.learner.step(position.total, list(islice(loader, self.recipe.accumulate)))
            except NonFiniteError as error:
                raise self._explained(error) from error
            position.step += 1
            position.total += 1
            if self.reporter is not None:
                self.reporter.step(position, report)
            every = self.recipe.checkpoint_every
            if every is not None and position.total % every == 0 and position.step < self.batches.steps:
                self._save()
        position.epoch += 1
        position.step = 0
        if position.epoch % self.recipe.evaluate_every == 0 or position.epoch == self.recipe.epochs:
            self._evaluate()
        self._save()

    def _evaluate(self) -> None:
        network = self.learner.scored()
        scores = self._scores(network)
        if scores is None:
            return
        position = self.position
        score: float = getattr(scores, self.recipe.monitor)
        position.stale += 1
        # A score of NaN, of a split without a pixel of any class, is no best one.
        if not math.isnan(score) and (position.best is None or score > position.best):
            position.best, position.stale = score, 0
            if self.accelerator.is_main_process:
                network.save_pretrained(self.folder.best)
        if self.reporter is not None:
            self.reporter.evaluation(position, scores, self.data.classes.names)

    def _scores(self, network: nn.Module) -> SegmentationScores | None:
        if self.data.val is None:
            return None
        with evaluating(network), self.accelerator.autocast():
            return evaluate(
                network,
                self.data.val,
                self.learner.normalize,
                self.accelerator.device,
                num_classes=self.learner.model.num_classes,
                rank=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
                workers=self.recipe.workers,
            )

    def _save(self) -> None:
        state = self.learner.state()
        if self.accelerator.is_main_process:
            save_state(self.folder.last, self.position, state, self._launch)

    def _explained(self, error: NonFiniteError) -> TrainingError:
        position = self.position
        kept = f"the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else "no checkpoint yet"
        return TrainingError(
            f"{error} at step {position.total + 1} (epoch {position.epoch + 1}, step {position.step + 1} of "
            f"{self.batches.steps}), over the files {', '.join(error.names)}; {kept}. Look at these files, lower "
            "optimizer.lr, or set clip"
        )

    def _finish(self) -> RunResult:
        accelerator, folder = self.accelerator, self.folder
        last = self.learner.scored()
        if accelerator.is_main_process:
            best = self.recipe.keep == "best" and self.position.best is not None
            (from_pretrained(folder.best) if best else last).save_pretrained(folder.model)
        accelerator.wait_for_everyone()
        final = from_pretrained(folder.model).to(accelerator.device)
        scores = self._scores(final)
        if accelerator.is_main_process:
            save_figure(draw_curves(folder.rows()), folder.path / "curves.png")
            predictions = draw_predictions(
                final,
                self.data.val or self.samples,
                self.data.classes.classes,
                self.learner.normalize,
                accelerator.device,
            )
            save_figure(predictions, folder.path / "predictions.png")
        return RunResult(folder.model, scores, self.position.total, self._stale)
