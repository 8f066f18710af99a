"""How a network is run on tiles so that nothing changes: halos as wide as it sees, stages where it sees far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from unetzoo.analysis.recording import Recording
from unetzoo.analysis.stages import TilingStage
from unetzoo.errors import ConfigError


@dataclass(frozen=True)
class ExactPlan:
    """How a network is run on tiles so that nothing changes.

    Attributes:
        recording: the network's operations.
        stages: in the order they run; empty where whole tiles need no stages.
        halos: of every stage, pixels along each axis; zero for whole-image stages.
        splits: the strides that divide the maps into levels; those beyond the last are computed on the whole image.
        others: plans of the same network for sizes of another remainder, found so far.
    """

    recording: Recording
    stages: tuple[TilingStage, ...]
    halos: tuple[tuple[int, ...], ...]
    splits: tuple[int, ...]
    others: dict[tuple[int, ...], ExactPlan] = field(default_factory=dict, compare=False, repr=False)

    @property
    def halo(self) -> tuple[int, ...]:
        """The widest halo of all stages along each axis."""
        return tuple(max(along) for along in zip(*self.halos, strict=True))


def tile_at(level: int, tile: Sequence[int]) -> tuple[int, ...]:
    """What one run sees of the maps of a level, in pixels of the image: coarser maps have room for more."""
    return tuple(edge * 2**level for edge in tile)


def core_of(plan: ExactPlan, halo: Sequence[int], tile: Sequence[int]) -> tuple[int, ...]:
    """What a tile yields of what it sees; raises `ConfigError` if that is nothing."""
    align, remainder = plan.recording.align, plan.recording.remainder
    lost = [2 * margin + rest for margin, rest in zip(halo, remainder, strict=True)]
    core = tuple((seen - gone) // a * a for seen, gone, a in zip(tile, lost, align, strict=True))
    if min(core) <= 0:
        needed = tuple(gone + a for gone, a in zip(lost, align, strict=True))
        raise ConfigError(f"a tile of {tuple(tile)} pixels is all halo; this network needs {needed} at least")
    return core
