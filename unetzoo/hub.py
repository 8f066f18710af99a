"""A model as a folder of two files, `config.json` and `model.safetensors`: the layout of the Hugging Face hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
import torch

from unetzoo.errors import CheckpointError
from unetzoo.files import replacing, write_text

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def write_folder(
    folder: str | os.PathLike[str], config: Mapping[str, object], state: Mapping[str, torch.Tensor]
) -> None:
    """Write both files into `folder`, which is made if need be; each is replaced as a whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.contiguous() for key, tensor in _without_ties(state).items()}
    with replacing(folder / WEIGHTS) as path:
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def _without_ties(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, of those under several names the first; views into one memory become tensors of their own memory."""
    kept: dict[str, torch.Tensor] = {}
    held: dict[object, set[object]] = {}  # memory: the views of it that are kept
    for key, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr() or key
        view = tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
        if memory not in held:
            kept[key] = tensor
        elif view not in held[memory]:
            kept[key] = tensor.clone()
        held.setdefault(memory, set()).add(view)
    return kept


def read_config(folder: Path) -> dict[str, Any]:
    """Return what `config.json` holds; `CheckpointError` if there is none or it is not JSON of an object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds a {type(config).__name__}; expected the config of a model")
    return config


def find_folder(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    subfolder: str | None = None,
) -> Path:
    """Return the local folder of a saved model: `source` itself, or a download of the hub repository of that id.

    Of a training run it is the folder of the trained model.

    Raises `CheckpointError` if it is neither.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(f"expected a folder or the id of a hub repository, got a {type(source).__name__}")
    folder = Path(source)
    if folder.exists():
        if revision is not None:
            raise CheckpointError(f"{source} is a local folder; revision={revision!r} is for hub repositories")
        if subfolder is None and (folder / "recipe.yaml").is_file() and not (folder / CONFIG).is_file():
            subfolder = "model"  # of a training run
            if not (folder / subfolder).is_dir():
                raise CheckpointError(
                    f"{source}: this training run is not finished; finish it with "
                    f"`unetzoo train {folder / 'recipe.yaml'} --out {folder} --resume`"
                )
        return folder / (subfolder or "")
    if folder.is_absolute() or os.fspath(source).startswith((".", "~")):
        raise CheckpointError(f"{source}: no such folder; expected one that save_pretrained wrote")
    patterns = [f"{subfolder}/{name}" if subfolder else name for name in (CONFIG, WEIGHTS)]
    try:
        found = snapshot_download(os.fspath(source), revision=revision, token=token, allow_patterns=patterns)
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{os.fspath(source)!r} is neither a folder nor a hub repository that can be fetched: {error}"
        ) from error
    return Path(found) / (subfolder or "")


def upload(
    config: Mapping[str, object],
    state: Mapping[str, torch.Tensor],
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload both files to a hub repository, which is made if need be; return the address of the commit.

    Raises `CheckpointError` if the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        write_folder(folder, config, state)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=commit_message or "Upload model",
                allow_patterns=[CONFIG, WEIGHTS],
            )
        except (HFValidationError, HfHubHTTPError, OSError) as error:
            raise CheckpointError(f"{repo_id!r} cannot be uploaded to the hub: {error}") from error
    return str(getattr(commit, "commit_url", commit))
