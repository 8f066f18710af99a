"""What there is: listing models and components, and reading their cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unetzoo import registry

if TYPE_CHECKING:
    from unetzoo.card import ModelCard


def list_models(
    pattern: str = "*",
    *,
    ndim: int | None = None,
    tags: str | Sequence[str] = (),
    source: str | None = None,
    pretrained: bool | None = None,
) -> list[str]:
    """Return the names of the models that match a shell pattern, from metadata alone.

    Args:
        pattern: shell pattern; a namespace is listed when the pattern begins with it (`"smp/*"`).
        ndim: only models of this many spatial dimensions.
        tags: only models that carry this tag, or all of these.
        source: only models that this distribution registered.
        pretrained: only models with (or without) published weights of the whole network that can be downloaded.

    The filters read the cards. A model whose card cannot be read is left out of a filtered listing.
    """
    tags = [tags] if isinstance(tags, str) else tags
    names = registry.names("model", pattern)
    if ndim is None and not tags and source is None and pretrained is None:
        return names
    return [name for name in names if _passes(name, ndim, set(tags), source, pretrained)]


def list_components(kind: str, pattern: str = "*") -> list[str]:
    """Return the names of one kind (`block`, `encoder`, `center`, `decoder`, `head`, `model`) that match a pattern."""
    return registry.names(kind, pattern)


def info(name: str) -> ModelCard:
    """Return the card of a model: title, paper, year, license, dimensions, parts, sizes, checkpoints.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that is not valid.
    """
    from unetzoo.config.resolving import read_card

    return read_card(name)


def _passes(name: str, ndim: int | None, tags: set[str], source: str | None, pretrained: bool | None) -> bool:
    from unetzoo.errors import UnetzooError

    try:
        card = info(name)
    except UnetzooError:
        return False
    return (
        (ndim is None or ndim in card.ndim)
        and tags <= set(card.tags)
        and source in (None, card.source)
        and pretrained in (None, any(not checkpoint.manual for checkpoint in card.checkpoints.values()))
    )
