"""Which operations of a network run on tiles and which on the whole image, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

from unetzoo.errors import ConfigError
from unetzoo.inference.staging import INPUT, Recording


@dataclass(frozen=True)
class Stage:
    """One pass over the image, tile by tile or at once.

    Attributes:
        tiled: whether it runs on tiles.
        wanted: the operations it runs.
        targets: those among them whose results are kept for later stages, or are the output.
        reads: results of earlier stages that it takes.
        drops: results that no later stage takes.
    """

    tiled: bool
    wanted: frozenset[int]
    targets: frozenset[int]
    reads: frozenset[int]
    drops: frozenset[int]


def make_schedule(recording: Recording, split: int) -> list[Stage]:
    """Tiled stages for all maps finer than `split`, whole-image stages between them for the coarser ones.

    A U-Net gives three stages: its finest encoder levels on tiles, up to the operations that first reach stride
    `split`; everything coarser on the whole image; and the finest decoder levels on tiles, with the finest encoder
    levels once more instead of storing them. A network that comes down several times, such as U2-Net, gives more.

    Raises:
        ConfigError: an operation mixes fine maps over the whole image, so that no tile can compute it.
    """
    operations = recording.operations
    fine = {i for i, op in enumerate(operations) if op.strides is not None and max(op.strides) < split}
    if recording.output not in fine:
        raise ConfigError(f"the network's output is no map of a stride under {split}; use a larger split")
    live = _needed(recording, {recording.output}, set())
    entries = {i for i in live - fine if any(j == INPUT or j in fine for j in operations[i].inputs)}
    for index in entries:
        if not operations[index].aligned:
            raise ConfigError(
                f"{operations[index].function} makes of maps finer than stride {split} one that no tiles fit; "
                "use a smaller split, or mode='blend'"
            )
    rounds = _rounds(recording, live, fine, entries)
    tiled = []
    for number in range(rounds[recording.output] + 1):
        targets = {i for i in entries if rounds[i] == number}
        if number == rounds[recording.output]:
            targets = {recording.output}
        tiled.append((targets, _needed(recording, targets, live - fine)))
    kept = set().union(*(_outside(recording, wanted) for _, wanted in tiled)) - entries
    for index in kept:
        if not (operations[index].aligned or operations[index].constant):
            raise ConfigError(
                f"{operations[index].function} makes a coarse map that no tiles correspond to; use another split"
            )
    passes: list[tuple[bool, set[int], set[int]]] = []
    for number, (targets, wanted) in enumerate(tiled):
        passes.append((True, targets, wanted))
        results = {i for i in kept if rounds[i] == number}
        known = {i for i in entries if rounds[i] <= number} | {i for i in kept if rounds[i] < number}
        if results:
            passes.append((False, results, _needed(recording, results, known)))
    return [_stage(recording, passes, position) for position in range(len(passes))]


def _rounds(recording: Recording, live: set[int], fine: set[int], entries: set[int]) -> dict[int, int]:
    """In which round, of one tiled stage and one on the whole image, each operation can first be computed."""
    rounds = {INPUT: 0}
    for index in sorted(live):
        on_tiles = index in fine or index in entries
        rounds[index] = max(
            rounds[i] + (on_tiles and i != INPUT and i not in fine) for i in recording.operations[index].inputs
        )
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


def _stage(recording: Recording, passes: list[tuple[bool, set[int], set[int]]], position: int) -> Stage:
    tiled, targets, wanted = passes[position]
    reads = _outside(recording, wanted)
    later = set().union(*(_outside(recording, other) for _, _, other in passes[position + 1 :]))
    return Stage(tiled, frozenset(wanted), frozenset(targets), frozenset(reads), frozenset(reads - later))
