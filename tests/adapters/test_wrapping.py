from __future__ import annotations

import torch
from torch import nn

from unetzoo.adapters import wrapping


class Partly(wrapping.WrappedModel):
    """Uses one of two layers."""

    def __init__(self) -> None:
        super().__init__(in_channels=1, num_classes=2, ndim=2)
        self.network = nn.Conv2d(1, 2, 1)
        self.idle = nn.Conv2d(1, 2, 1)


def test_the_search_for_unused_parameters_remembers_a_bounded_number_of_networks():
    for number in range(wrapping.KEPT + 20):
        with torch.device("meta"):
            model = Partly()
        model.find_unused((4, 4), {"number": number})
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert learning == {"network.weight", "network.bias"}
    assert len(wrapping._UNUSED) <= wrapping.KEPT
