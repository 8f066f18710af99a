"""A trained network with what must be known to apply it: its classes, and how images are read and normalized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetzoo.errors import ConfigError
from unetzoo.network import DenseModel
from unetzoo.pretrained import from_pretrained
from unetzoo.training.data import DataConfig
from unetzoo.training.recipe import read_recipe
from unetzoo.training.runs import RunFolder


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode and the description of the data that it was trained on."""

    model: DenseModel
    data: DataConfig


def load_trained(source: str) -> Trained:
    """Load the network of a run's folder, of a folder of `save_pretrained`, or of a hub repository.

    The run's recipe tells the classes and the normalization. Of a network alone the classes are numbered, and images
    are normalized as its encoder's published weights ask for, or else each to zero mean and unit deviation.

    Raises `ConfigError` for the folder of a run that has not ended, and `CheckpointError` for what cannot be loaded.
    """
    run = RunFolder(Path(source))
    if run.recipe.is_file():
        if not run.model.is_dir():
            raise ConfigError(f"{source}: this run has not ended; finish it with `unetzoo train {run.recipe} --resume`")
        return Trained(from_pretrained(run.model), read_recipe(run.recipe).data)
    model = from_pretrained(source)
    return Trained(model, _described(model))


def _described(model: DenseModel) -> DataConfig:
    names = [f"class {number}" for number in range(max(model.num_classes, 2))]
    weights = model.preprocessing
    normalize: object = "image"
    if weights is not None and weights.input_range and weights.mean and weights.std:
        low, high = weights.input_range
        # The encoder's own figures are for its input range, ours for pixels from 0 to 1.
        normalize = {
            "mean": [(mean - low) / (high - low) for mean in weights.mean],
            "std": [std / (high - low) for std in weights.std],
        }
    return DataConfig.model_validate({"root": ".", "classes": names, "ndim": model.ndim, "normalize": normalize})
