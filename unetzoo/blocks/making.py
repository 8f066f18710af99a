"""Calling a block factory with options that not every block has, or that differ from level to level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from unetzoo.components.binding import accepts, call, name_of_component
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.typing import BlockFactory, Size


def make_block(
    block: BlockFactory,
    in_channels: int,
    out_channels: int,
    *,
    ndim: int,
    stride: Size = 1,
    transposed: bool = False,
    options: Mapping[str, object] | None = None,
) -> nn.Module:
    """Return a block that divides the size by `stride`, or multiplies it if `transposed`.

    `stride`, `transposed` and further `options` are passed on only where they are needed: a block of one resolution
    does not take them. Raises `ConfigError` if the block does not take one that is needed.
    """
    chosen = dict(options or {})
    name = name_of_component(block)
    if set(dims.per_axis(stride, ndim)) != {1}:
        chosen["stride"] = stride
    if transposed:
        chosen["transposed"] = True
    if missing := [key for key in ("stride", "transposed") if key in chosen and not accepts(block, key)]:
        raise ConfigError(f"{name} does not change the size: it has no {' and no '.join(missing)}")
    return call(block, chosen, in_channels, out_channels, name=name, ndim=ndim)


def level_options(per_level: Mapping[str, Sequence[object]] | None, levels: int) -> list[dict[str, object]]:
    """Return the block's options at each level, from a mapping of option to one value per level.

    None leaves an option out at that level. Raises `ConfigError` where the number of values is not that of levels.

    >>> level_options({"depth": [1, None, 3]}, 3)
    [{'depth': 1}, {}, {'depth': 3}]
    """
    for option, values in (per_level or {}).items():
        if len(values) != levels:
            raise ConfigError(
                f"{len(values)} values of {option!r} for the blocks: expected one for each of {levels} levels"
            )
    return [
        {option: values[level] for option, values in (per_level or {}).items() if values[level] is not None}
        for level in range(levels)
    ]
