"""Measures a network and decides how its tiles can equal the whole image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unetzoo.analysis.reach import Probe, Strips, measure_halo, probe_width
from unetzoo.analysis.recording import Recording, record
from unetzoo.analysis.replay import replay
from unetzoo.analysis.stages import TilingStage, make_schedule
from unetzoo.errors import ConfigError
from unetzoo.images.windows import index
from unetzoo.inference.plan.exact import ExactPlan, core_of, tile_at
from unetzoo.inference.plan.geometry import Tile
from unetzoo.inference.run.exact import ExactRunner, Read
from unetzoo.nn.dims import round_up
from unetzoo.nn.evaluation import empty_like_parameters, evaluating

CANDIDATES: tuple[tuple[int, ...], ...] = ((), (8,), (16,), (4,), (2,))
ACCEPTED_WORK = 2.5  # times the pixels of the image; more is taken only where nothing else is possible
TOLERANCE = 1e-3  # of the largest value; a tile that misses a part of what it needs is off by far more


def plan_exact(
    network: nn.Module,
    in_channels: int,
    tile: Sequence[int],
    *,
    splits: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
) -> ExactPlan:
    """Measures a network and decides how to tile it; one plan serves images of all sizes that leave one remainder.

    Args:
        network: `(N, C, *spatial)` to one tensor of logits of the same size.
        in_channels: of the images.
        tile: what one run of the network shall see, pixels along each axis.
        splits: strides at which the maps are divided into levels, increasing; maps beyond the last are computed on the
            whole image, and without any split all on tiles. Unless given, the first of none, 8, 16, 4 and 2 whose tiles
            see at most 2.5 times the pixels of the image, or else the one whose tiles see least.
        size: of the images, where it is no multiple of the network's strides.

    Raises:
        ConfigError: no such plan exists, and why; or its tiles would be all halo.
    """
    like = empty_like_parameters(network)
    sizes = ((256, 384), (384, 256)) if len(tile) == 2 else ((64, 96, 128), (96, 128, 64))
    with evaluating(network):
        recording = record(network, in_channels, sizes, like)
        remainder = recording.remainder_of(size or sizes[0])
        if not any(remainder):
            return _best_plan(network, recording, tile, splits, like)
        first, second = (tuple(n + rest for n, rest in zip(each, remainder, strict=True)) for each in sizes)
        try:
            recording = record(network, in_channels, (first, second), like, remainder)
            return _best_plan(network, recording, tile, splits, like)
        except (RuntimeError, ValueError) as error:  # whatever a network refuses a size with
            raise ConfigError(
                f"{tuple(size or ())} is no multiple of the model's stride {recording.align}, and there: {error}; "
                "use mirror_ends=True for the result of the image mirrored up to one, or mode='blend'"
            ) from error


def plan_for(network: nn.Module, plan: ExactPlan, tile: Sequence[int], size: Sequence[int]) -> ExactPlan:
    """The plan itself, or the one with its splits for images of this size, found once for each remainder."""
    remainder = plan.recording.remainder_of(size)
    if remainder == plan.recording.remainder:
        return plan
    if remainder not in plan.others:
        plan.others[remainder] = plan_exact(network, plan.recording.in_channels, tile, splits=plan.splits, size=size)
    return plan.others[remainder]


def _best_plan(
    network: nn.Module,
    recording: Recording,
    tile: Sequence[int],
    splits: Sequence[int] | None,
    like: Tensor,
) -> ExactPlan:
    in_channels = recording.in_channels
    result = recording.operations[recording.output]
    if result.strides != (1,) * len(tile) or any(result.surplus):
        raise ConfigError(
            f"exact tiling is not possible: the network's result has strides {result.strides} and "
            f"{result.surplus} pixels beyond the image's; use mode='mirror' for unpadded convolutions"
        )
    best: tuple[float, ExactPlan] | None = None
    failures = []
    for candidate in CANDIDATES if splits is None else (tuple(splits),):
        try:
            plan = _plan(network, recording, in_channels, like, candidate, tile)
            work = _work(plan, tile)
        except ConfigError as error:
            failures.append(f"{candidate or 'no'} split: {error}")
            continue
        if best is None or work < best[0]:
            best = work, plan
        if work <= ACCEPTED_WORK:
            break
    if best is None:
        raise ConfigError("exact tiling is not possible; " + "; ".join(failures))
    if not _is_exact(network, best[1], in_channels, like):
        raise ConfigError(
            "exact tiling is not possible: the network's result depends on where a tile lies, as with "
            "align_corners=True or absolute positions; use mode='blend'"
        )
    return best[1]


def _is_exact(network: nn.Module, plan: ExactPlan, in_channels: int, like: Tensor) -> bool:
    """Whether tiles give what the whole image gives, tried on long, narrow random images.

    Args:
        network: the planned one.
        plan: of it.
        in_channels: of the images.
        like: a tensor of the device and type to use.
    """
    align = plan.recording.align
    core = tuple(probe_width(align, axis) for axis in range(len(align)))
    tile = tuple(c + 2 * margin for c, margin in zip(core, plan.halo, strict=True))
    for axis in range(len(align)):
        shape = [c + extra for c, extra in zip(core, plan.recording.remainder, strict=True)]
        shape[axis] += round_up(2 * plan.halo[axis] + core[axis], align[axis])
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, in_channels, *shape, generator=generator).to(like)
        with torch.inference_mode():
            whole = network(image)
        runner = ExactRunner(network, plan, image_reader(image), shape, tile, batch_size=1)
        for pieces in runner.run(0, lambda: None):
            for window, values in pieces:
                difference = (whole[0][index(window)] - values).abs().max()
                if not difference <= TOLERANCE * whole.abs().max():
                    return False
    return True


def image_reader(image: Tensor) -> Read:
    """Reads tiles from an image `(1, C, *spatial)` in memory."""

    def read(tiles: Sequence[Tile]) -> Tensor:
        return torch.cat([image[index(tile.seen, 2)] for tile in tiles])

    return read


def _plan(
    network: nn.Module,
    recording: Recording,
    in_channels: int,
    like: Tensor,
    splits: tuple[int, ...],
    tile: Sequence[int],
) -> ExactPlan:
    align = recording.align
    if not splits:

        def run(shape: tuple[int, ...], strips: Strips) -> list[tuple[Tensor, tuple[int, ...]]]:
            with torch.inference_mode():
                logits = network(strips.fill(like.new_empty(1, in_channels, *shape)))
            return [(logits, (1,) * len(shape))]

        return ExactPlan(recording, (), (measure_halo(run, align, tile, recording.remainder),), ())
    stages = make_schedule(recording, splits)
    halos = []
    for stage in stages:
        if stage.level is None:
            halos.append((0,) * len(align))
        else:
            probe = _stage_probe(network, recording, stage, in_channels, like)
            halos.append(measure_halo(probe, align, tile_at(stage.level, tile), recording.remainder))
    return ExactPlan(recording, tuple(stages), tuple(halos), splits)


def _stage_probe(network: nn.Module, recording: Recording, stage: TilingStage, in_channels: int, like: Tensor) -> Probe:
    """The stage on a probe whose image and stored maps are NaN in the strips."""

    def run(shape: tuple[int, ...], strips: Strips) -> list[tuple[Tensor, tuple[int, ...]]]:
        def given(number: int) -> list[Tensor] | None:
            if number not in stage.reads:
                return None
            operation = recording.operations[number]
            if operation.strides is None:
                return [like.new_zeros(whole) for whole in operation.shapes]
            maps = [like.new_empty(1, whole[1], *operation.map_size(shape)) for whole in operation.shapes]
            return [strips.fill(values, operation.strides[strips.axis]) for values in maps]

        image = strips.fill(like.new_empty(1, in_channels, *shape))
        results = replay(network, recording, image, wanted=stage.wanted, targets=stage.targets, given=given)
        return [
            (values, strides)
            for number, tensors in results.items()
            if (strides := recording.operations[number].strides) is not None
            for values in tensors
        ]

    return run


def _work(plan: ExactPlan, tile: Sequence[int]) -> float:
    """Pixels that tiles see, in units of those they yield, in the stage where that is most."""
    most = 1.0
    for level, halo in zip([stage.level for stage in plan.stages] or [0], plan.halos, strict=True):
        if level is not None:
            seen = tile_at(level, tile)
            core = core_of(plan, halo, seen)
            most = max(most, math.prod(edge / kept for edge, kept in zip(seen, core, strict=True)))
    return most
