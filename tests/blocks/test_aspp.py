from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.blocks.aspp import ASPP


def test_the_branches_see_the_center_and_what_their_dilations_reach() -> None:
    block = ASPP(1, 2, ndim=2, dilations=[2, 5], norm="none", activation="none")
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, 13, 13, requires_grad=True)
    block(x)[0, 0, 6, 6].backward()
    # Two channels of both branches sum nine positions each; the center belongs to both.
    expected = torch.zeros(13, 13)
    for reach in (2, 5):
        for row in (6 - reach, 6, 6 + reach):
            for column in (6 - reach, 6, 6 + reach):
                expected[row, column] += 2
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, 0], expected)


def test_the_order_decides_whether_normalization_precedes_the_activation() -> None:
    assert [type(layer) for layer in ASPP(1, 2, ndim=3, order="can").branches[0]] == [
        nn.Conv3d,
        nn.ReLU,
        nn.BatchNorm3d,
    ]


def test_the_weights_start_as_he_et_al_draw_them() -> None:
    block = ASPP(32, 64, ndim=2, dilations=[1, 2])
    # The deviation is sqrt(2 / inputs): 32 * 9 inputs of a branch, 128 of the projection.
    assert block.branches[1].conv.weight.std().item() == pytest.approx((2 / 288) ** 0.5, rel=0.03)
    assert block.project.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
