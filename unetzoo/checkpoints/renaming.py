"""Key layouts: rename tables from the authors' state-dict keys to ours, as plain data.

A table maps patterns to patterns, longest match first. A pattern is a dotted prefix of a key in which `{a,b,c}` lists
choices, `{1..4}` counts, and `*` stands for one dotted name; the n-th group on the right gives the choice that the
n-th group on the left matched, and what follows the prefix is kept:

    down{1..4}.conv.{0,3}: encoder.stages.{1..4}.block.{0,1}.conv

renames `down2.conv.3.weight` to `encoder.stages.2.block.1.conv.weight`. A pattern mapped to null drops its keys.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping

from unetzoo.components.mistakes import shortened
from unetzoo.errors import ConfigError

MOST_ROWS = 100_000  # of a table written out, which a file from elsewhere may bring
_GROUP = re.compile(r"\{([^{}]*)\}")
_STAR = re.compile(r"\*")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Layout:
    """A rename table, ready for use.

    Raises `ConfigError` for a row whose two sides do not have the same groups of the same length, and for a table that
    stands for more rows than any network has keys.
    """

    def __init__(self, table: Mapping[str, str | None]) -> None:
        rules: list[tuple[str, str | None]] = []
        for source, target in table.items():
            rules += _expand(source, target)
            if len(rules) > MOST_ROWS:
                raise ConfigError(f"the layout has more than {MOST_ROWS} rows when written out")
        self._exact = {source: target for source, target in rules if "*" not in source}
        self._wild = [(_wild_pattern(source), target) for source, target in sorted(rules, key=_length) if "*" in source]

    def rename(self, keys: Iterable[str]) -> dict[str, str | None]:
        """Return the new name of every key, none for a dropped one; keys that no row matches are left out."""
        return {key: target for key in keys if (target := self._target(key)) != ""}

    def _target(self, key: str) -> str | None:
        """The new name; the empty string if no row matches."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            if prefix in self._exact:
                target = self._exact[prefix]
                return target if target is None else ".".join([target, *parts[length:]])
        for pattern, target in self._wild:
            if match := pattern.fullmatch(key):
                if target is None:
                    return None
                *stars, rest = match.groups()
                return _substitute(_STAR, target, stars) + (rest or "")
        return ""


def _length(rule: tuple[str, str | None]) -> int:
    return -len(rule[0])


def _wild_pattern(source: str) -> re.Pattern[str]:
    return re.compile(re.escape(source).replace(r"\*", r"([^.]+)") + r"(\..*)?")


def _expand(source: str, target: str | None) -> list[tuple[str, str | None]]:
    """Rows without groups: the product over the groups, each pair of groups walked in step."""
    left = [_choices(group) for group in _GROUP.findall(source)]
    right = [_choices(group) for group in _GROUP.findall(target)] if target is not None else left
    if [len(group) for group in left] != [len(group) for group in right] or (
        target is not None and source.count("*") != target.count("*")
    ):
        raise ConfigError(
            f"layout row {source!r}: {target!r}: both sides need the same groups, of the same length, and stars"
        )
    if math.prod(map(len, left)) > MOST_ROWS:
        raise ConfigError(f"layout row {shortened(repr(source))} stands for more than {MOST_ROWS} rows")
    rows: list[tuple[str, str | None]] = []
    for picks in itertools.product(*[zip(a, b, strict=True) for a, b in zip(left, right, strict=True)]):
        renamed = None if target is None else _substitute(_GROUP, target, [pick[1] for pick in picks])
        rows.append((_substitute(_GROUP, source, [pick[0] for pick in picks]), renamed))
    return rows


def _choices(group: str) -> list[str]:
    if match := _RANGE.fullmatch(group):
        # Python itself refuses to read numbers of thousands of digits.
        first, last = int(match[1][:20]), int(match[2][:20])
        if abs(last - first) >= MOST_ROWS:
            raise ConfigError(f"layout group {shortened(repr(group))} counts beyond {MOST_ROWS} numbers")
        step = 1 if last >= first else -1
        return [str(number) for number in range(first, last + step, step)]
    return group.split(",")


def _substitute(marks: re.Pattern[str], pattern: str, picks: Iterable[str]) -> str:
    remaining = iter(picks)
    return marks.sub(lambda _: next(remaining), pattern)
