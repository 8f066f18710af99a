from __future__ import annotations

import torch

from unetzoo.centers.placeholder import Placeholder


def test_the_placeholder_changes_nothing_and_does_not_learn() -> None:
    center = Placeholder(4, ndim=3, size=2)
    x = torch.randn(1, 4, 2, 2, 2)
    assert center(x) is x
    assert [(p.numel(), p.requires_grad) for p in center.parameters()] == [(2, False)]
