from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.blocks.mednext import MedNeXt
from unetzoo.errors import ConfigError


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_block_adds_its_input(ndim: int) -> None:
    block = MedNeXt(4, 4, ndim=ndim)
    nn.init.zeros_(block.compress.weight)
    nn.init.zeros_(block.compress.bias)
    x = torch.randn(2, 4, *[5] * ndim)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_strided_block_rounds_the_size_up(kernel_size: int) -> None:
    assert MedNeXt(4, 8, ndim=2, kernel_size=kernel_size, stride=2)(torch.randn(1, 4, 7, 6)).shape == (1, 8, 4, 3)


def test_a_transposed_block_doubles_the_size_with_zeros_in_front() -> None:
    y = MedNeXt(4, 2, ndim=3, stride=(1, 2, 2), transposed=True)(torch.randn(1, 4, 3, 4, 5))
    assert y.shape == (1, 2, 3, 8, 10)
    assert not y[..., 0, :].any()
    assert not y[..., 0].any()
    assert y[:, :, 0, 1:, 1:].abs().min() > 0


def test_the_expansion_widens_the_hidden_layer() -> None:
    assert MedNeXt(4, 6, ndim=2, expansion=3).expand.out_channels == 12


def test_an_even_kernel_cannot_be_transposed() -> None:
    with pytest.raises(ConfigError, match="odd kernels"):
        MedNeXt(4, 4, ndim=2, kernel_size=4, stride=2, transposed=True)
