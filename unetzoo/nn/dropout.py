"""Dropout of whole channels or of single elements, and its probabilities level by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from unetzoo.errors import ConfigError
from unetzoo.nn import dims

DropoutKind = Literal["channel", "element"]


def make_dropout(probability: float, *, ndim: int, kind: DropoutKind = "channel") -> nn.Module:
    """Return dropout of whole channels (Tompson et al., CVPR 2015) or of single elements; identity for zero."""
    if not 0 <= probability < 1:
        raise ConfigError(f"a dropout probability is {probability}; expected at least 0 and less than 1")
    if probability == 0:
        return nn.Identity()
    return dims.channel_dropout(ndim)(probability) if kind == "channel" else nn.Dropout(probability)


def last_levels(probabilities: Sequence[float], levels: int) -> list[float]:
    """Return one probability per level: the given ones are those of the last levels, the others are zero.

    >>> last_levels([0.5, 0.5], 4)
    [0.0, 0.0, 0.5, 0.5]
    """
    if len(probabilities) > levels:
        raise ConfigError(f"{len(probabilities)} dropout probabilities for {levels} levels: expected at most one each")
    return [0.0] * (levels - len(probabilities)) + list(probabilities)
