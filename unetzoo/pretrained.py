"""Saved models: written by `save_pretrained`, made again by `from_pretrained`."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from unetzoo.checkpoints.loading import load_checkpoint
from unetzoo.errors import ConfigError
from unetzoo.factory import create
from unetzoo.hub import CONFIG, WEIGHTS, find_folder, read_config
from unetzoo.network import DenseModel


def save_pretrained(model: DenseModel, folder: str | os.PathLike[str]) -> None:
    """Write the model's config and weights into `folder`: `model.save_pretrained(folder)`."""
    model.save_pretrained(folder)


def from_pretrained(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    subfolder: str | None = None,
    max_parameters: int = 10**10,
) -> DenseModel:
    """Create the model that `save_pretrained` wrote, with its preprocessing, classes and provenance.

    Args:
        source: a folder of `save_pretrained` or of a training run, or the id of a hub repository (`"user/name"`),
            which is downloaded.
        revision: branch, tag or commit of the repository.
        token: access token for the hub; default: the one that is logged in.
        subfolder: folder inside of `source` that holds the model.
        max_parameters: most parameters that the config may ask for; counted before any memory is taken for them.

    Returns:
        The model in evaluation mode. Nothing but its own two files is downloaded.

    Raises:
        CheckpointError: a file is missing, cannot be read, or does not fit.
        ConfigError: `config.json` does not describe a model; every mistake in it; or one of too many parameters.
    """
    folder = find_folder(source, revision=revision, token=token, subfolder=subfolder)
    config = read_config(folder)
    try:
        count = _count_parameters(config)
        if count > max_parameters:
            raise ConfigError(
                f"the model has {count:,} parameters; expected at most {max_parameters:,}. If the file is to be "
                "trusted, raise max_parameters"
            )
        model = create(config)
    except ConfigError as error:
        raise type(error)(f"{folder / CONFIG}: {error}") from error
    load_checkpoint(model, folder / WEIGHTS)
    return model.eval()


def _count_parameters(config: Mapping[str, object]) -> int:
    """The parameters that a config asks for, without memory for them; 0 for a model that takes values to build."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in create(config).parameters())
    except ConfigError:
        return 0  # mistakes in the config are listed when the model itself is built
