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
    """A plugin that cannot be imported, or two that capability one name."""


class InputError(UnetzooError, ValueError):
    """An input tensor that the model cannot take."""


class TrainingError(UnetzooError, RuntimeError):
    """A training run that cannot go on: a loss that is not finite, or too little memory."""


def nearest(value: str, choices: Iterable[str]) -> str:
    """Return a phrase that offers the spellings nearest to `value`, or the empty string.

    >>> nearest("dlinknet43", ["dlinknet34", "unet"])
    "; did you mean 'dlinknet34'?"
    """
    found = difflib.get_close_matches(value, list(choices), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in found)}?" if found else ""
