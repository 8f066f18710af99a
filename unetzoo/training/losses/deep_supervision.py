"""One loss over the several outputs of a deeply supervised network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetzoo.errors import ConfigError, InputError

Weighting = Literal["equal", "halving"] | Sequence[float]


class DeepSupervision(nn.Module):
    """Weighted sum of a loss over the logits of every supervised level, finest first.

    A single tensor, as networks give in eval mode, is passed to the loss unchanged. Logits smaller than the target are
    compared with the target resampled to their size (nearest).

    Args:
        loss: called as `loss(logits, target)`, or with `weight_map=` where one is given.
        weights: `"equal"`: every output counts one, as the sum of seven of U2-Net (Qin et al. 2020, eq. 1);
            `"halving"`: 1, 1/2, 1/4, ... from the finest on (Isensee et al. 2021, nnU-Net); or one number an output.
        normalize: divide the weights by their sum; by default for `"halving"` alone, as published.
        skip_coarsest: give the coarsest output the weight zero, as nnU-Net's code does.

    Raises:
        ConfigError: weights that are no known name, negative, or all zero.
    """

    takes_weight_map = True

    def __init__(
        self,
        loss: nn.Module,
        *,
        weights: Weighting = "equal",
        normalize: bool | None = None,
        skip_coarsest: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(weights, str):
            if weights not in ("equal", "halving"):
                raise ConfigError(f"weights is {weights!r}; expected 'equal', 'halving' or one number an output")
        elif min(weights, default=0) < 0 or sum(weights) <= 0:
            raise ConfigError(f"weights are {list(weights)}; expected numbers from zero up, not all of them zero")
        self.loss = loss
        self.weighting = weights
        self.normalize = weights == "halving" if normalize is None else normalize
        self.skip_coarsest = skip_coarsest

    def weights(self, num_outputs: int) -> list[float]:
        """The weight of each of `num_outputs` outputs, finest first."""
        if self.weighting == "equal":
            weights = [1.0] * num_outputs
        elif self.weighting == "halving":
            weights = [0.5**level for level in range(num_outputs)]
        else:
            weights = [float(weight) for weight in self.weighting]
            if len(weights) != num_outputs:
                raise InputError(f"{len(weights)} weights were given for {num_outputs} outputs; expected one an output")
        if self.skip_coarsest and num_outputs > 1:
            weights[-1] = 0.0
        total = sum(weights) if self.normalize else 1.0
        return [weight / total for weight in weights]

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Loss of one tensor or of a list of logits, `(N, C, *spatial)` each, against one target."""
        if isinstance(logits, Tensor):
            return self._one(logits, target, weight_map)
        if not logits:
            raise InputError("the list of logits is empty; expected one tensor a supervised output")
        terms = [
            weight * self._one(output, target, weight_map)
            for weight, output in zip(self.weights(len(logits)), logits, strict=True)
            if weight
        ]
        return torch.stack(terms).sum()

    def _one(self, logits: Tensor, target: Tensor, weight_map: Tensor | None) -> Tensor:
        size = logits.shape[2:]
        if weight_map is None:
            return self.loss(logits, resample_nearest(target, size))
        return self.loss(logits, resample_nearest(target, size), weight_map=resample_nearest(weight_map, size))


def resample_nearest(target: Tensor, size: Sequence[int]) -> Tensor:
    """A target `(N, *spatial)` or `(N, C, *spatial)` at another size, each value one that was there."""
    ndim = len(size)
    if tuple(target.shape[-ndim:]) == tuple(size):
        return target
    with_channel = target if target.ndim == ndim + 2 else target.unsqueeze(1)
    resampled = F.interpolate(with_channel.double(), size=tuple(size), mode="nearest-exact").to(target.dtype)
    return resampled.reshape(*target.shape[:-ndim], *size)
