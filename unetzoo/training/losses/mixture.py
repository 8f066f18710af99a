"""A weighted sum of named losses that reports its parts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unetzoo.training.losses.targets import Mode, prepare_target


class LossMixture(nn.Module):
    """Sum of `weight * loss` over named losses, after one check of the target.

    Args:
        losses: name to weight and module; each module takes logits and the target as `prepare_target` returns it,
            and `weight_map` too if it says `takes_weight_map`.
        mode, num_classes, ignore_index: what the target is checked against.
    """

    takes_weight_map = True

    def __init__(
        self,
        losses: Mapping[str, tuple[float, nn.Module]],
        *,
        mode: Mode,
        num_classes: int,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.losses = nn.ModuleDict({name: loss for name, (_, loss) in losses.items()})
        self.weights = {name: weight for name, (weight, _) in losses.items()}
        self.mode: Mode = mode
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def parts(self, logits: Tensor, target: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
        """Every loss by name, not yet weighted."""
        target = prepare_target(logits, target, self.mode, self.num_classes, self.ignore_index)
        return {
            name: loss(logits, target, weight_map) if getattr(loss, "takes_weight_map", False) else loss(logits, target)
            for name, loss in self.losses.items()
        }

    def forward(self, logits: Tensor, target: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """The weighted sum for logits `(N, C, *spatial)`; `weight_map` `(N, *spatial)` is for those that take one."""
        parts = self.parts(logits, target, weight_map)
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()

    def extra_repr(self) -> str:
        """The weights, as `print(loss)` shows them."""
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())
