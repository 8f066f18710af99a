"""A model as a folder of two files, `config.json` and `model.safetensors`: the layout of the Hugging Face hub."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors.torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from unetzoo import factory
from unetzoo.checkpoints.loading import load_checkpoint
from unetzoo.config.schema import ModelConfig
from unetzoo.errors import CheckpointError, ConfigError
from unetzoo.files import replacing, write_text
from unetzoo.network import DenseModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_pretrained(model: DenseModel, folder: str | os.PathLike[str]) -> None:
    """Write the model's config and weights into `folder`, which is made if need be.

    Each file is replaced as a whole or not at all. Raises `ConfigError` if the model was not made by `create`.
    """
    if model.config is None:
        raise ConfigError(f"{type(model).__name__} has no config: only what unetzoo.create made can be created again")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.model_dump(mode="json", exclude_defaults=True)
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as path:
        safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def from_pretrained(source: str | os.PathLike[str]) -> DenseModel:
    """Create the model that `save_pretrained` wrote: a folder, or the id of a hub repository (`"user/name"`).

    The model is in evaluation mode. No encoder weights are downloaded: the file holds them all. Raises
    `CheckpointError` if a file is missing or does not fit.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _download(os.fspath(source))
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG}: cannot be read: {error}") from error
    model = factory.create(ModelConfig.model_validate(config))
    load_checkpoint(model, folder / WEIGHTS)
    return model.eval()


def _download(source: str) -> Path:
    try:
        return Path(snapshot_download(source, allow_patterns=[CONFIG, WEIGHTS]))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{source!r} is neither a folder nor a hub repository that can be fetched: {error}"
        ) from error
