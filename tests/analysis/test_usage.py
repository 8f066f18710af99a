from __future__ import annotations

import torch
from torch import nn

from unetzoo.analysis.usage import unused_parameters


class Detached(nn.Module):
    """One layer reaches the output, one is cut off from it and one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.cut, self.idle = (nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x) + self.cut(x).detach()


def test_parameters_without_a_path_to_the_output_are_unused():
    assert unused_parameters(Detached(), torch.empty(1, 2, device="meta")) == ["cut.weight", "idle.weight"]
