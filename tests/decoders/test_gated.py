from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.decoders.gated import GatedDecoder, PooledAttention


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_weight_multiplies_the_coarser_tensor_unsquashed(ndim: int) -> None:
    attention = PooledAttention(4, 3, 2, ndim=ndim).eval()
    conv = attention.weight.get_submodule("conv")
    nn.init.zeros_(conv.get_parameter("weight"))
    nn.init.constant_(conv.get_parameter("bias"), -3.0)
    x = torch.randn(1, 4, *[3] * ndim)
    torch.testing.assert_close(attention(x, torch.randn(1, 3, *[7] * ndim)), -3.0 * x)


def test_a_closed_gate_hides_the_bottom_from_the_decoder() -> None:
    decoder = GatedDecoder([3, 4], [1, 2], ndim=2, upsample="linear").eval()
    conv = decoder.stages[0].attention.weight.get_submodule("conv")
    nn.init.zeros_(conv.get_parameter("weight"))
    nn.init.zeros_(conv.get_parameter("bias"))
    skip = torch.randn(1, 3, 8, 8)
    first, second = (decoder([skip, torch.randn(1, 4, 4, 4)])[0] for _ in range(2))
    torch.testing.assert_close(first, second)
