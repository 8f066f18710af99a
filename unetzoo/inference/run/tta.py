"""Test-time augmentation: the mean prediction over mirrored, turned and rescaled images, each turned back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetzoo.errors import ConfigError

Symmetries = Literal["none", "flips", "all"]
Average = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of the square or the cube: axes permuted, then some of them mirrored.

    Attributes:
        order: which spatial axis comes first, second, ...; each from 0.
        mirrored: the spatial axes that are mirrored afterwards.
    """

    order: tuple[int, ...]
    mirrored: tuple[int, ...]

    def apply(self, x: Tensor) -> Tensor:
        """The transformed image `(N, C, *spatial)`."""
        return x.permute(0, 1, *(axis + 2 for axis in self.order)).flip([axis + 2 for axis in self.mirrored])

    def undo(self, x: Tensor) -> Tensor:
        """What `apply` was given."""
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return x.flip([axis + 2 for axis in self.mirrored]).permute(0, 1, *(axis + 2 for axis in inverse))


def symmetries(ndim: int, kind: Symmetries) -> list[Symmetry]:
    """The identity alone, all combinations of mirrored axes, or all turns too: 8 of the square, 48 of the cube."""
    same = tuple(range(ndim))
    if kind == "none":
        return [Symmetry(same, ())]
    orders = [same] if kind == "flips" else list(itertools.permutations(same))
    mirrored = [axes for count in range(ndim + 1) for axes in itertools.combinations(same, count)]
    return [Symmetry(order, axes) for order in orders for axes in mirrored]


class TestTimeAugmentation(nn.Module):
    """A network whose logits are the mean over transformed images; it is called as the network is.

    D-LinkNet's scheme (Zhou et al. 2018) is `average="probabilities"` over the eight symmetries of the square: the sum
    of the eight sigmoid maps is cut at four, which is a logit of zero here.

    Args:
        network: `(N, C, *spatial)` to logits of the same size.
        symmetries: `none`, `flips`, or `all`: flips and rotations. Volumes with voxels that are no cubes take `flips`.
        scales: sizes to which images are resampled (linearly, no side under 1 pixel), as factors.
        average: of the logits, or of the probabilities, returned as their logits.

    Raises:
        ConfigError: no scales, one that is not above zero, or an unknown name.
    """

    __test__ = False  # the name starts as those of test classes do

    def __init__(
        self,
        network: nn.Module,
        *,
        symmetries: Symmetries = "all",
        scales: Sequence[float] = (1.0,),
        average: Average = "logits",
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ConfigError(f"scales are {list(scales)}; expected one or more factors above zero")
        if symmetries not in ("none", "flips", "all"):
            raise ConfigError(f"symmetries is {symmetries!r}; expected 'none', 'flips' or 'all'")
        if average not in ("logits", "probabilities"):
            raise ConfigError(f"average is {average!r}; expected 'logits' or 'probabilities'")
        self.network = network
        self.symmetries: Symmetries = symmetries
        self.scales = tuple(scales)
        self.average = average

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits `(N, num_classes, *spatial)` of images `(N, C, *spatial)`."""
        total: Tensor | None = None
        variants = symmetries(x.ndim - 2, self.symmetries)
        for factor in self.scales:
            scaled = x if factor == 1 else _resize(x, [max(1, round(length * factor)) for length in x.shape[2:]])
            for symmetry in variants:
                logits = symmetry.undo(self.network(symmetry.apply(scaled)))
                logits = _resize(logits, x.shape[2:])
                part = logits if self.average == "logits" else _probabilities(logits)
                total = part if total is None else total + part
        assert total is not None  # there is one scale and one symmetry at least
        mean = total / (len(self.scales) * len(variants))
        return mean if self.average == "logits" else _logits(mean)


def _resize(x: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    return F.interpolate(x, size=tuple(shape), mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False)


def _probabilities(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _logits(probabilities: Tensor) -> Tensor:
    tiny = torch.finfo(probabilities.dtype).tiny
    if probabilities.shape[1] == 1:
        return probabilities.clamp_min(tiny).log() - (1 - probabilities).clamp_min(tiny).log()
    return probabilities.clamp_min(tiny).log()
