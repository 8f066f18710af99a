"""A recipe: everything that decides what a training run learns, as one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unetzoo.components.mistakes import mistakes_in
from unetzoo.components.spec import named
from unetzoo.config.merging import Draft
from unetzoo.config.schema import PartConfig
from unetzoo.training.augmentation import AugmentationConfig
from unetzoo.training.data import DataConfig
from unetzoo.training.optimizers import AdamW, OptimizerConfig, Rates
from unetzoo.training.schedules import Constant, OneCycle, ScheduleConfig
from unetzoo.yamlfile import read_yaml

Positive = Annotated[int, Field(ge=1, strict=True)]


class Supervision(BaseModel):
    """How the outputs of a deeply supervised network are weighted; see `unetzoo.training.DeepSupervision`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Literal["equal", "halving"] | list[float] = "equal"
    normalize: bool | None = None
    skip_coarsest: bool = False


class Recipe(BaseModel):
    """Everything that `train` needs: network, data, loss, and how to learn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: PartConfig = Field(description="name or config file, with options of `create`; classes follow from the data")
    data: DataConfig
    augment: AugmentationConfig = AugmentationConfig()
    loss: str | Mapping[str, float | dict[str, Any]] = Field(
        {"cross_entropy": 1.0, "dice": 1.0}, description="names and weights as `make_loss` takes them"
    )
    deep_supervision: Supervision = Supervision()

    epochs: Positive = 50
    batch_size: Positive = Field(8, description="samples that one process takes at a time")
    accumulate: Positive = Field(1, description="batches whose gradients make one step")
    optimizer: OptimizerConfig = AdamW()
    rates: Rates = Field(Rates(), description="factors on the learning rate of encoder, center, decoder and head")
    schedule: ScheduleConfig = Constant()
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the EMA weights, which are evaluated and saved")
    freeze_encoder_epochs: int = Field(0, ge=0, strict=True, description="first epochs, in which the encoder is kept")
    sync_batch_norm: bool = Field(True, description="normalize over the batches of all processes")

    evaluate_every: Positive = Field(1, description="epochs")
    monitor: Literal["mean_iou", "mean_dice", "pixel_accuracy"] = "mean_iou"
    keep: Literal["best", "last"] = Field("best", description="which weights the run ends with")
    early_stopping: Positive | None = Field(None, description="evaluations without a better score, after which to stop")
    checkpoint_every: Positive | None = Field(None, description="steps; each epoch's end is kept as well")

    seed: int = Field(0, ge=0, strict=True)
    workers: int = Field(0, ge=0, strict=True, description="processes that read and crop images")
    channels_last: bool = False
    gradient_checkpointing: bool = False
    deterministic: bool = Field(True, description="only kernels that give the same result every time; slower on GPUs")
    tensorboard: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if not isinstance(self.schedule, OneCycle) and self.schedule.warmup >= self.epochs:
            raise ValueError(f"the warm-up of {self.schedule.warmup:g} epochs leaves none of the {self.epochs} epochs")
        return self


def read_recipe(path: Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Return the recipe in a YAML file, with `overrides` merged in: nested mappings, as `parse_overrides` gives them.

    Relative paths in the file are relative to its folder. `{"model": {"name": ...}}` takes another network under the
    options that the file gives; `{"model": "..."}` leaves them out.

    Raises `ConfigError` that names file, line and key of every mistake, and the nearest spelling of a key that does not
    exist.
    """
    data, lines = read_yaml(path)
    draft = Draft(path.stem, data, {key: f"{path}:{line}" for key, line in lines.items()})
    _anchor(draft.data, path.parent)
    if overrides:
        _rename_model(draft.data, overrides.get("model"))
        draft = draft.override(overrides, "--set")
    try:
        return Recipe.model_validate(draft.data)
    except ValidationError as error:
        raise draft.fail(mistakes_in(error, Recipe, draft.data)) from error


def anchored(recipe: Recipe) -> Recipe:
    """Return the recipe with the paths that are relative to the current folder made absolute."""
    data = recipe.model_dump(mode="json")
    _anchor(data, Path.cwd())
    return Recipe.model_validate(data)


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML, with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _rename_model(data: dict[str, Any], change: object) -> None:
    """Let `model.name=` keep the options of the recipe's model, where `model=` replaces them all."""
    model = named(data.get("model"))
    if isinstance(change, Mapping) and "name" in change and isinstance(model, Mapping):
        data["model"] = {**model, "name": change["name"]}


def _anchor(data: dict[str, Any], folder: Path) -> None:
    """Make the paths of a recipe relative to its own folder."""
    section = data.get("data")
    if isinstance(section, dict) and isinstance(section.get("root"), str):
        section["root"] = str((folder / Path(section["root"]).expanduser()).resolve())
    model = data.get("model")
    name = model.get("name") if isinstance(model, dict) else model
    if isinstance(name, str) and name.endswith((".yaml", ".yml")):
        anchored = str((folder / name).resolve())
        data["model"] = {**model, "name": anchored} if isinstance(model, dict) else anchored
