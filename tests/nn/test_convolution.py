from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from unetzoo.errors import ConfigError
from unetzoo.nn.convolution import make_conv


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 2), (3, 2), (5, (1, 3))])
def test_an_inner_transposed_convolution_reaches_from_the_first_to_the_last_position(
    kernel_size: int, stride: int | tuple[int, int]
) -> None:
    conv = make_conv(2, 3, ndim=2, kernel_size=kernel_size, stride=stride, padding="inner", transposed=True)
    steps = (stride, stride) if isinstance(stride, int) else stride
    x = torch.randn(1, 2, 4, 5)
    expected = F.conv_transpose2d(x, conv.weight, conv.bias, stride=steps)
    reach = kernel_size // 2
    height, width = steps[0] * 3 + 1, steps[1] * 4 + 1
    torch.testing.assert_close(conv(x), expected[..., reach : reach + height, reach : reach + width])


@pytest.mark.parametrize("options", [{"transposed": False}, {"transposed": True, "kernel_size": 2}])
def test_inner_padding_is_for_transposed_convolutions_of_odd_kernels(options: dict) -> None:
    with pytest.raises(ConfigError, match="odd kernels"):
        make_conv(2, 3, ndim=2, stride=2, padding="inner", **options)
