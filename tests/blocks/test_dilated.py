"""The cascade of dilated convolutions: its sum, its reach and its first biases."""

from __future__ import annotations

import pytest
import torch

from unetzoo.blocks.dilated import DilatedCascade
from unetzoo.centers.dilated import Dilated
from unetzoo.errors import ConfigError


def test_the_results_of_all_stages_are_summed_with_the_input_where_told():
    ones = torch.ones(1, 1, 4, 4)
    for add_input, expected in ((False, 2 + 4 + 8), (True, 1 + 2 + 4 + 8)):
        cascade = DilatedCascade(1, 1, ndim=2, dilations=[1, 2, 4], kernel_size=1, add_input=add_input)
        for conv in cascade.convs:
            torch.nn.init.constant_(conv.weight, 2.0)
        assert torch.equal(cascade(ones), expected * ones)


def test_the_cascade_sees_as_far_as_its_dilations_add_up_to():
    torch.manual_seed(0)
    center = Dilated(4, ndim=2, dilations=[1, 2, 4])
    x = torch.randn(1, 4, 31, 31, requires_grad=True)
    center(x)[0, :, 15, 15].sum().backward()
    seen = x.grad[0].abs().sum((0, 1)).nonzero().flatten()
    assert (seen.min(), seen.max()) == (15 - 7, 15 + 7)


def test_biases_start_at_zero():
    assert all(not conv.bias.any() for conv in Dilated(4, ndim=3).convs)


@pytest.mark.parametrize("options", [{"dilations": []}, {"add_input": True}])
def test_a_cascade_without_stages_or_with_unequal_channels_is_refused(options):
    with pytest.raises(ConfigError):
        DilatedCascade(2, 4, ndim=2, **options)
