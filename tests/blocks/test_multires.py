from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.blocks.multires import MultiRes, ResPath
from unetzoo.errors import ConfigError


@pytest.mark.parametrize(
    ("width", "expected"),
    # U = 32, 64, 128, 256, 512 filters times 1.67, a sixth, a third and a half, each rounded down (section 3).
    [(51, [8, 17, 26]), (105, [17, 35, 53]), (212, [35, 71, 106]), (426, [71, 142, 213]), (853, [142, 284, 427])],
)
def test_the_widths_are_a_sixth_a_third_and_a_half(width: int, expected: list[int]) -> None:
    with torch.device("meta"):
        assert [conv.conv.out_channels for conv in MultiRes(3, width, ndim=2).convs] == expected


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_convolutions_in_a_chain_see_seven_positions(ndim: int) -> None:
    x = torch.randn(1, 1, *[11] * ndim, requires_grad=True)
    y = MultiRes(1, 12, ndim=ndim, norm="none", activation="none")(x)
    y[(0, slice(None), *[5] * ndim)].sum().backward()
    assert x.grad is not None
    seen = x.grad[0, 0].nonzero()
    assert seen.min() == 2
    assert seen.max() == 8


def test_a_residual_path_applies_its_normalization_a_second_time_where_asked() -> None:
    torch.manual_seed(0)
    path = ResPath(2, 2, ndim=2, norm_twice=True).eval()
    step = path[0]
    nn.init.constant_(step.norm.weight, 2.0)
    nn.init.constant_(step.norm.bias, -0.5)
    x = torch.randn(1, 2, 4, 4)
    gain = 2.0 / (1 + step.norm.eps) ** 0.5
    twice = torch.relu(gain * (torch.relu(gain * step.conv(x) - 0.5) + step.shortcut(x)) - 0.5)
    torch.testing.assert_close(path(x), twice)
    step.twice = False
    torch.testing.assert_close(path(x), torch.relu(gain * (step.conv(x) + step.shortcut(x)) - 0.5))


def test_a_residual_path_has_as_many_steps_as_its_depth() -> None:
    assert len(ResPath(3, 5, ndim=3, depth=4)) == 4
    with pytest.raises(ConfigError, match="depth is 0"):
        ResPath(3, 5, ndim=2, depth=0)


def test_too_few_channels_to_split_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 output channels"):
        MultiRes(3, 5, ndim=2)
