"""Which operations of a network run on tiles and which on the whole image, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unetzoo.analysis.recording import INPUT, Recording
from unetzoo.errors import ConfigError


@dataclass(frozen=True)
class TilingStage:
    """One pass over the image, tile by tile or at once.

    Attributes:
        level: 0 for tiles of the finest maps, one more for each split they are beyond; None for the whole image.
        wanted: the operations it runs.
        targets: those among them whose results are kept for later stages, or are the output.
        reads: results of earlier stages that it takes.
        drops: those of them that no later stage takes.
    """

    level: int | None
    wanted: frozenset[int]
    targets: frozenset[int]
    reads: frozenset[int]
    drops: frozenset[int]


@dataclass(frozen=True)
class _Pass:
    level: int | None
    targets: set[int]
    wanted: set[int]


def make_schedule(recording: Recording, splits: Sequence[int]) -> list[TilingStage]:
    """Tiled stages for all maps finer than the first split, and between them what the coarser ones need.

    A U-Net with one split gives three stages: its finest encoder levels on tiles, up to the operations that first reach
    the stride of the split; everything coarser on the whole image; and the finest decoder levels on tiles, with the
    finest encoder levels once more instead of storing them. With a second split the middle stage is divided in the same
    way, into tiles of the maps between the splits and the coarsest maps. A network that comes down several times, such
    as U2-Net, gives more stages.

    Raises:
        ConfigError: an operation mixes finer maps over the whole image, so that no tile can compute it.
    """
    passes = _divide(recording, {recording.output}, set(), splits, level=0)
    stages = []
    for position, one in enumerate(passes):
        reads = _outside(recording, one.wanted)
        later = set().union(*(_outside(recording, other.wanted) for other in passes[position + 1 :]))
        stages.append(
            TilingStage(
                one.level, frozenset(one.wanted), frozenset(one.targets), frozenset(reads), frozenset(reads - later)
            )
        )
    return stages


def _divide(recording: Recording, targets: set[int], given: set[int], splits: Sequence[int], level: int) -> list[_Pass]:
    """Passes that lead from the image and the given operations to the targets."""
    live = _needed(recording, targets, given)
    if not splits:
        return [_Pass(None, targets, live)]
    operations = recording.operations
    fine = {INPUT} | {i for i in live | given if _is_finer(recording, i, splits[0])}
    entries = {i for i in live - fine if not fine.isdisjoint(operations[i].inputs)}
    _check(recording, entries, f"of maps finer than stride {splits[0]}")
    rounds = _rounds(recording, live, given, fine, entries)
    last = max(rounds[i] for i in targets)
    tiled = []
    for number in range(last + 1):
        wanted_here = {i for i in entries | (targets & fine) if rounds[i] == number}
        tiled.append(_Pass(level, wanted_here, _needed(recording, wanted_here, given | (live - fine))))
    taken = set().union(*(_outside(recording, one.wanted) for one in tiled)) | (targets - fine)
    kept = taken - entries - given
    _check(recording, {i for i in kept if not operations[i].constant}, "for tiles")
    passes = []
    for number, one in enumerate(tiled):
        if one.targets:
            passes.append(one)
        results = {i for i in kept if rounds[i] == number}
        known = given | {i for i in entries if rounds[i] <= number} | {i for i in kept if rounds[i] < number}
        if results:
            passes += _divide(recording, results, known, splits[1:], level + 1)
    return passes


def _is_finer(recording: Recording, index: int, split: int) -> bool:
    strides = recording.operations[index].strides
    return strides is not None and max(strides) < split


def _rounds(recording: Recording, live: set[int], given: set[int], fine: set[int], entries: set[int]) -> dict[int, int]:
    """In which round, of one tiled pass and one over coarser maps, each operation can first be computed."""
    rounds = {INPUT: 0} | {index: 0 if index in fine else -1 for index in given}
    for index in sorted(live):
        on_tiles = index in fine or index in entries
        inputs = recording.operations[index].inputs
        rounds[index] = max(0, *(rounds[i] + (on_tiles and i not in fine) for i in inputs))
    return rounds


def _needed(recording: Recording, targets: set[int], given: set[int]) -> set[int]:
    """The targets and all operations that lead to them from those that are given, without these."""
    found, open_ends = set(targets), list(targets)
    while open_ends:
        for index in recording.operations[open_ends.pop()].inputs:
            if index != INPUT and index not in found and index not in given:
                found.add(index)
                open_ends.append(index)
    return found


def _outside(recording: Recording, wanted: set[int]) -> set[int]:
    """What the wanted operations take from others."""
    return {i for index in wanted for i in recording.operations[index].inputs if i != INPUT} - wanted


def _check(recording: Recording, indices: set[int], what: str) -> None:
    for index in indices:
        operation = recording.operations[index]
        if not recording.is_aligned(index):
            raise ConfigError(
                f"{operation.function} makes a map {what} that no tiles fit: it depends on the whole image, or its "
                "size is no multiple of theirs; use another split, or mode='blend'"
            )
