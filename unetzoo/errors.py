"""The errors of unetzoo: each says what came, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnetzooError(Exception):
    """Base of every error that unetzoo raises on purpose."""

    def __str__(self) -> str:
        """Return the bare message; `KeyError` alone would show it quoted."""
        return str(self.args[0]) if self.args else ""


class UnknownNameError(UnetzooError, KeyError):
    """A name that nothing is registered under."""


class ConfigError(UnetzooError, ValueError):
    """A config, or an option given to `create`, that does not describe a model."""


class CheckpointError(UnetzooError, ValueError):
    """Weights that do not fit the model they are loaded into, or a file that is not what it should be."""


class PluginError(UnetzooError, ValueError):
    """A plugin that cannot be imported, or two that claim one name."""


class InputError(UnetzooError, ValueError):
    """An input tensor that the model cannot take."""


class TrainingError(UnetzooError, RuntimeError):
    """A training run that cannot go on: a loss that is not finite, or too little memory."""


# What other libraries call the same thing.
SYNONYMS = {
    "num_classes": ("classes", "n_classes", "nclass", "out_channels", "out_ch", "num_labels"),
    "in_channels": ("in_chans", "in_ch", "input_channels", "n_channels", "channels_in"),
    "encoder": ("encoder_name", "backbone", "encoder_type", "arch_encoder"),
    "pretrained": ("encoder_weights", "weights_backbone", "use_pretrained"),
    "ndim": ("spatial_dims", "dim", "dims", "dimensions"),
    "activation": ("act", "act_layer", "nonlinearity"),
    "norm": ("norm_layer", "norm_type", "normalization"),
    "dropout": ("drop_rate", "drop", "p_drop"),
}


def nearest_option(value: object, choices: Iterable[str]) -> str:
    """Return a phrase that offers what `value` is called here, or the nearest spellings, or the empty string.

    >>> nearest_option("classes", ["num_classes", "channels"])
    "; did you mean 'num_classes'?"
    """
    known = list(choices)
    ours = next((name for name, others in SYNONYMS.items() if value in others and name in known), None)
    return nearest(value, known) if ours is None else f"; did you mean {ours!r}?"


def nearest(value: object, choices: Iterable[str]) -> str:
    """Return a phrase that offers the spellings nearest to `value`, or the empty string.

    >>> nearest("dlinknet43", ["dlinknet34", "unet"])
    "; did you mean 'dlinknet34'?"
    """
    found = difflib.get_close_matches(str(value), list(choices), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in found)}?" if found else ""
