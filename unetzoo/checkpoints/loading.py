"""Loading weights, in our keys or in the authors', completely or not at all."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import safetensors.torch
import torch
from torch import nn

from unetzoo.card import Checkpoint
from unetzoo.checkpoints.renaming import Layout
from unetzoo.checkpoints.transfer import Transfer, find_transfer
from unetzoo.errors import CheckpointError, nearest
from unetzoo.files import is_file, is_folder
from unetzoo.hub import WEIGHTS, find_folder

StateDict = Mapping[str, torch.Tensor]
OURS = "unetzoo"
OFFICIAL = "official"

# Training scripts store the weights under one of these keys, beside the optimizer's state and the like.
# Where there is an exponential moving average too, it is what the scripts evaluate, so it comes first.
_AVERAGES = ("state_dict_ema", "model_ema", "params_ema", "ema_state_dict")
_WRAPPERS = (
    *_AVERAGES,
    *("state_dict", "model_state_dict", "model_state", "network_weights", "params", "model", "net"),
)


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint gave: its key layout, and the keys that were loaded, dropped, skipped, adapted or left new."""

    layout: str
    matched: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


def load_checkpoint(
    model: nn.Module,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    skip: str | Sequence[str] = (),
    transfer: bool = False,
) -> Loaded:
    """Load weights into `model`, in our keys or in a layout that the model's config lists.

    Args:
        model: a model made by `create`.
        source: a file (`.safetensors`, or anything `torch.load` reads without running code), a folder of a saved
            model or of a training run, or a state dict. The entry of a training script that holds the weights is found
            (`state_dict`, `model`, `params` and others; that of a moving average before the others), and a prefix that
            all keys share (`module.`, `_orig_mod.`, `model.`) is removed where they fit without it.
        skip: shell pattern, or several, of our keys that stay as they are (`"head.*"` for another number of classes).
        transfer: take weights of a network for other input channels or classes too: its first convolution is adapted as
            timm does it, layers of the head that differ stay new, and a warning names both.

    Returns:
        What was matched.

    Raises:
        CheckpointError: the file cannot be read, or tensors are missing, left over or of another shape; all of them
            are listed, and the model is left unchanged.
    """
    state = _unwrap(source) if isinstance(source, Mapping) else read_tensors(source)
    skip = [skip] if isinstance(skip, str) else skip
    own = {key: tensor for key, tensor in model.state_dict(keep_vars=True).items() if not _skipped(key, skip)}
    in_channels = getattr(model, "in_channels", 0) if transfer else 0
    candidates = [
        _match(layout, stripped, own, skip, in_channels)
        for stripped in _without_prefixes(state)
        for layout in _layouts(model, stripped)
    ]
    best = min(candidates, key=lambda candidate: len(candidate.problems))
    if best.problems:
        listed = "\n  ".join(best.problems[:40])
        more = f"\n  and {len(best.problems) - 40} more" if len(best.problems) > 40 else ""
        raise CheckpointError(
            f"the checkpoint does not fit {_describe(model)} (key layout {best.layout!r}):\n  {listed}{more}"
        )
    broken = [key for key, tensor in best.renamed.items() if not _is_finite(tensor) and _is_finite(own[key])]
    if broken:
        listed = ", ".join(broken[:10]) + (f" and {len(broken) - 10} more" if len(broken) > 10 else "")
        warnings.warn(
            f"weights of {_describe(model)} are not finite, of a diverged run or a damaged file: {listed}", stacklevel=2
        )
    _assign(model, best.renamed)
    moved = best.transfer
    if moved.adapted or moved.fresh:
        warnings.warn(f"weights of {_describe(model)}: {moved}", stacklevel=2)
    return Loaded(
        best.layout,
        tuple(best.renamed),
        tuple(best.dropped),
        tuple(best.skipped),
        tuple(moved.adapted),
        tuple(moved.fresh),
    )


def _assign(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give a model its weights: the tensors themselves where it is on the meta device, else their values."""
    own = model.state_dict(keep_vars=True)
    if not any(tensor.is_meta for tensor in own.values()):
        model.load_state_dict(weights, strict=False)
        return
    first = {id(own[key]): weights[key].to(own[key].dtype) for key in weights}
    given = {
        key: first[id(tensor)] if id(tensor) in first else torch.zeros_like(tensor, device="cpu")
        for key, tensor in own.items()
    }
    ties = {name: id(tensor) for name, tensor in model.named_parameters(remove_duplicate=False)}
    model.load_state_dict(given, assign=True)
    made: dict[int, nn.Parameter] = {}
    for name, identity in ties.items():  # assigned one by one, they are no longer one tensor
        holder, _, attribute = name.rpartition(".")
        module = model.get_submodule(holder)
        setattr(module, attribute, made.setdefault(identity, getattr(module, attribute)))


def read_state_dict(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Return what the file holds, running none of its code; `CheckpointError` if it is no checkpoint."""
    if is_folder(path):
        path = find_folder(path) / WEIGHTS
    if not is_file(path):
        raise CheckpointError(f"{path}: no such file")
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails on broken files in every way there is
        raise CheckpointError(f"{path}: cannot be read as weights without running code from it: {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a state dict")
    return content


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the state dict that the file holds, out of the entry of a training script."""
    return _unwrap(read_state_dict(path))


def load_published(model: nn.Module, checkpoint: str | os.PathLike[str]) -> Loaded:
    """Load one of the card's checkpoints by name (downloaded once, its hash checked), or a local file or folder.

    "official" is the first on the card that can be downloaded, where none has that name. The model takes over the
    checkpoint's preprocessing, classes and provenance; with a local file, those of the checkpoint of that file name.
    """
    published: dict[str, Checkpoint] = getattr(getattr(model, "card", None), "checkpoints", {})
    if checkpoint == OFFICIAL and published:
        fetched = [name for name, record in published.items() if not record.manual]
        checkpoint = OFFICIAL if OFFICIAL in published else next(iter(fetched or published))
    if isinstance(checkpoint, str) and checkpoint in published:
        loaded = load_checkpoint(model, download(published[checkpoint]), transfer=True)
        _describe_weights(model, checkpoint, published[checkpoint])
        return loaded
    if is_file(checkpoint) or is_folder(checkpoint):
        loaded = load_checkpoint(model, checkpoint, transfer=True)
        for name, record in published.items():
            if record.file == Path(checkpoint).name:
                _describe_weights(model, name, record)
        return loaded
    names = ", ".join(published) or "none"
    given = os.fspath(checkpoint) if isinstance(checkpoint, os.PathLike) else checkpoint
    raise CheckpointError(
        f"{given!r} is neither a file nor a checkpoint of {_describe(model)} "
        f"(it has: {names}){nearest(given, published)}"
    )


def _describe_weights(model: nn.Module, name: str, record: Checkpoint) -> None:
    """Set what is known of the weights on the model that holds them now."""
    known, classes = record.preprocessing, record.classes
    model.preprocessing = known and known.for_channels(model.in_channels)  # type: ignore[assignment, arg-type]
    model.classes = classes if classes and classes.fit(model.num_classes) else None  # type: ignore[assignment, arg-type]
    model.provenance = record.provenance(name)  # type: ignore[assignment]


def download(checkpoint: Checkpoint) -> Path:
    """Return the local file of a published checkpoint, fetched into torch's hub folder if it is not there.

    Raises `CheckpointError` if it cannot be fetched, or if its hash is not the card's; a wrong file is removed.
    """
    if checkpoint.manual:
        what = f"take {checkpoint.file} out of it" if checkpoint.file else "fetch the file by hand"
        raise CheckpointError(
            f"{checkpoint.url} is a folder or a page, not a file; {what} and pass checkpoint="
            f"{checkpoint.file or 'FILE'!r}, the path of the file"
        )
    # Projects publish under names such as "best_checkpoint": the address tells them apart.
    address = hashlib.sha256(checkpoint.url.encode()).hexdigest()[:12]
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{address}-{Path(urlsplit(checkpoint.url).path).name}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(checkpoint.url, str(path), progress=False)
        except OSError as error:
            raise CheckpointError(
                f"{checkpoint.url} cannot be downloaded: {error}; fetch it by hand and pass checkpoint='FILE'"
            ) from error
    for name, kind, expected in (("SHA-256", "sha256", checkpoint.sha256), ("MD5", "md5", checkpoint.md5)):
        if expected is not None:
            digest = hashlib.new(kind)
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            found = digest.hexdigest()
            if found != expected:
                path.unlink()
                raise CheckpointError(f"{checkpoint.url}: the {name} is {found}; expected {expected}")
    return path


@dataclass
class _Match:
    layout: str
    renamed: dict[str, torch.Tensor]
    dropped: list[str]
    skipped: list[str]
    problems: list[str]
    transfer: Transfer


def _layouts(model: nn.Module, state: StateDict) -> list[tuple[str, dict[str, str | None]]]:
    listed = {**getattr(model, "layouts", {}), **getattr(getattr(model, "config", None), "layouts", {})}
    return [
        (OURS, {key: key for key in state}),
        *((name, Layout(table).rename(state)) for name, table in listed.items()),
    ]


def _match(
    layout: tuple[str, dict[str, str | None]],
    state: StateDict,
    own: Mapping[str, torch.Tensor],
    skip: Sequence[str],
    in_channels: int,
) -> _Match:
    """Match a checkpoint in one key layout; with `in_channels`, what does not fit is adapted or left new."""
    name, targets = layout
    ours = {target: tensor for key, tensor in state.items() if (target := targets.get(key))}
    match = _Match(name, {}, [], [], [], find_transfer(ours, own, in_channels) if in_channels else Transfer())
    for key, tensor in state.items():
        target = targets.get(key, "")
        if target is None:
            match.dropped.append(key)
        elif _skipped(target, skip):
            match.skipped.append(key)
        elif target not in own:
            match.problems.append(f"left over: {key}" + (f" (renamed to {target})" if target not in ("", key) else ""))
        elif wrong := _unusable(tensor, own[target]):
            match.problems.append(f"unusable: {key} {wrong}")
        elif target in match.transfer.fresh:
            match.skipped.append(key)
        elif target in match.transfer.adapted:
            match.renamed[target] = match.transfer.adapted[target]
        elif tuple(tensor.shape) != tuple(own[target].shape):
            match.problems.append(f"wrong shape: {key} is {list(tensor.shape)}, {target} is {list(own[target].shape)}")
        elif target in match.renamed and not torch.equal(tensor, match.renamed[target]):
            match.problems.append(f"contradiction: {key} and another tensor, with other values, are both {target}")
        else:
            match.renamed[target] = tensor
    # Checkpoints from before torch 0.4.1 have no batch counters.
    given = {*match.renamed, *match.transfer.fresh}
    tied = {id(own[key]) for key in given if key in own}  # one tensor under several names is saved once
    missing = [
        key for key in own if key not in given and id(own[key]) not in tied and not key.endswith("num_batches_tracked")
    ]
    match.problems += [f"missing: {key}" for key in missing]
    return match


def _unusable(tensor: torch.Tensor, own: torch.Tensor) -> str:
    """Why values of `tensor` cannot become those of `own`, whatever its shape; empty if they can."""
    if own.is_floating_point() != tensor.is_floating_point() or tensor.is_complex() != own.is_complex():
        return f"is of dtype {tensor.dtype}, the model's of {own.dtype}; convert the checkpoint"
    return ""


def _is_finite(tensor: torch.Tensor) -> bool:
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    # A sum reads the tensor once and makes none; only one that is not finite, or overflows, needs the closer look.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _skipped(key: str, skip: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in skip)


def _unwrap(content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    seen: list[object] = []  # a pickle may hold itself
    while inner := next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None):
        if any(inner is outer for outer in seen):
            raise CheckpointError("the checkpoint holds itself")
        seen.append(inner)
        content = inner
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if not state:
        raise CheckpointError(
            f"the checkpoint holds no tensors; its keys are {', '.join(map(str, list(content)[:10]))}"
        )
    kinds = {key: kind for key, tensor in state.items() if (kind := _kind(tensor))}
    if kinds:
        listed = ", ".join(f"{key} is {kind}" for key, kind in list(kinds.items())[:10])
        raise CheckpointError(
            f"the checkpoint holds tensors other than dense ones: {listed}; save it with dense tensors"
        )
    return state


def _kind(tensor: torch.Tensor) -> str:
    """What sets a tensor apart from a dense one with values; empty if nothing does."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    return "quantized" if tensor.is_quantized else "on the meta device, without values" if tensor.is_meta else ""


def _without_prefixes(state: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """The state dict itself, then without each prefix that all keys share; a counter of averaged models has none."""
    yield state
    state = {key: tensor for key, tensor in state.items() if key != "n_averaged"}
    while len(heads := {key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        prefix = f"{heads.pop()}."
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
        yield state


def _describe(model: nn.Module) -> str:
    card = getattr(model, "card", None)
    return repr(card.name) if card is not None and card.name else type(model).__name__
