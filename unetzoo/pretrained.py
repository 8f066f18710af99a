"""Saved models: written by `save_pretrained`, made again by `from_pretrained`."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import nn

from unetzoo.checkpoints.loading import load_checkpoint
from unetzoo.errors import ConfigError
from unetzoo.factory import create
from unetzoo.hub import CONFIG, WEIGHTS, find_folder, read_config
from unetzoo.network import DenseModel


def save_pretrained(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write the model's config and weights into `folder`: `model.save_pretrained(folder)`.

    Of a model that is compiled or wrapped for parallel training, the model inside is written.
    """
    while not isinstance(model, DenseModel):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            raise ConfigError(
                f"{type(model).__name__} is no model that unetzoo.create made, nor one around such a model"
            )
        model = inner
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
        The model in evaluation mode, its weights mapped from the file: they are read when they are first used. Nothing
        but its own two files is downloaded.

    Raises:
        CheckpointError: a file is missing, cannot be read, or does not fit.
        ConfigError: `config.json` does not describe a model; every mistake in it; or one of too many parameters.
    """
    folder = find_folder(source, revision=revision, token=token, subfolder=subfolder)
    config = read_config(folder)
    try:
        model = _create_without_weights(config, max_parameters)
    except ConfigError as error:
        raise type(error)(f"{folder / CONFIG}: {error}") from error
    load_checkpoint(model, folder / WEIGHTS)
    return model.eval()


def _create_without_weights(config: Mapping[str, object], max_parameters: int) -> DenseModel:
    """The model of a config on the meta device, for a checkpoint to fill.

    One that computes with values while it is built, or holds some that no checkpoint has, is built with them instead.
    """
    try:
        with torch.device("meta"):
            model = create(config)
    except ConfigError:  # of values that the meta device lacks; mistakes in the config are met again
        return create(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > max_parameters:
        raise ConfigError(
            f"the model has {count:,} parameters; expected at most {max_parameters:,}. If the file is to be "
            "trusted, raise max_parameters"
        )
    return create(config) if _holds_other_tensors(model) else model


def _holds_other_tensors(model: nn.Module) -> bool:
    """Whether modules hold tensors that are not in the state dict: buffers that are not saved, or plain attributes."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    return any(
        isinstance(value, torch.Tensor) and id(value) not in saved
        for module in model.modules()
        for held in (module._buffers, vars(module))
        for value in held.values()
    )
