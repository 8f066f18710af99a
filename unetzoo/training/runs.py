"""The folder of a run: its recipe, metrics, checkpoints, pictures and the trained network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from unetzoo.errors import ConfigError
from unetzoo.files import locked, write_text
from unetzoo.training.data.fingerprint import Fingerprint, changes
from unetzoo.training.recipe import Recipe, read_recipe, recipe_text

Row = dict[str, object]
REPLACED = (
    "last.pt",
    "model.safetensors",
    "config.json",
    "recipe.yaml",
    "data.json",
    "metrics.jsonl",
    "curves.png",
    "predictions.png",
)


class RunFolder:
    """Where a run writes.

    `recipe.yaml` has every default written out, and `data.json` a digest of each sample; `metrics.jsonl` has one row
    per step and per evaluation; `checkpoints/last.pt` is what a run is resumed from, `checkpoints/best` the network
    with the best score so far; `model` the network that the run ends with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.data = path / "data.json"
        self.metrics = path / "metrics.jsonl"
        self.last = path / "checkpoints" / "last.pt"
        self.best = path / "checkpoints" / "best"
        self.model = path / "model"

    def check(self, recipe: Recipe, *, resume: bool) -> None:
        """Raise `ConfigError` if the folder holds a run already, or, to resume, one of another recipe."""
        if not self.recipe.exists():
            return
        if not resume:
            raise ConfigError(f"{self.path} already holds a run; continue it with --resume, or give another folder")
        differing = _differences(recipe.model_dump(mode="json"), read_recipe(self.recipe).model_dump(mode="json"))
        if differing:
            raise ConfigError(
                f"the run in {self.path} has another recipe: {'; '.join(differing)}; "
                f"resume it with its own, {self.recipe}, or give another folder"
            )

    @contextmanager
    def held(self, recipe: Recipe, *, resume: bool) -> Iterator[None]:
        """Be the only run in the folder; raises `ConfigError` if another is at work in it, or was until now."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.path / "run"):
                self.check(recipe, resume=resume)
                yield
        finally:
            with suppress(OSError):  # it holds a run
                self.path.rmdir()

    def check_data(self, now: Fingerprint) -> None:
        """Raise `ConfigError` if the run in the folder began with other data."""
        if not self.data.exists():
            return
        try:
            before = json.loads(self.data.read_text(encoding="utf-8"))
            differing = changes(before, now)
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise ConfigError(f"{self.data}: is no record of a run's data: {error}") from error
        if differing:
            raise ConfigError(
                f"the data are not those that the run in {self.path} began with ({differing}); put them back, begin a "
                "new run, or go on with what there is by --changed-data"
            )

    def prepare(self, recipe: Recipe, data: Fingerprint, step: int) -> None:
        """Make the folder; take out what a killed run left behind after its last checkpoint, at `step`."""
        self.last.parent.mkdir(parents=True, exist_ok=True)
        for unfinished in (file for name in REPLACED for file in self.path.rglob(f".{name}.*")):
            unfinished.unlink()
        write_text(self.recipe, recipe_text(recipe))
        write_text(self.data, json.dumps(data))
        kept = [json.dumps(row) for row in self.rows() if int(str(row["step"])) <= step]
        write_text(self.metrics, "".join(f"{line}\n" for line in kept))

    def rows(self) -> list[Row]:
        """The rows of metrics; a last line that a kill has cut off is left out."""
        if not self.metrics.exists():
            return []
        text = self.metrics.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row of metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _differences(new: object, old: object, path: str = "") -> list[str]:
    if isinstance(new, dict) and isinstance(old, dict):
        keys = sorted({*new, *old})
        return [line for key in keys for line in _differences(new.get(key), old.get(key), f"{path}.{key}".strip("."))]
    return [] if new == old else [f"{path} is {new!r}, was {old!r}"]
