"""Merging a decoder's tensor with its skip, against hand calculations."""

from __future__ import annotations

import pytest
import torch

from unetzoo.nn.merging import AttentionGate, Merge

X = torch.arange(8.0).reshape(1, 2, 2, 2)
SKIP = 10 + torch.arange(8.0).reshape(1, 2, 2, 2)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("concat", torch.cat([SKIP, X], 1)),
        ({"name": "concat", "skip_first": False}, torch.cat([X, SKIP], 1)),
        ("add", X + SKIP),
        ("none", X),
    ],
)
def test_a_merge_gives_what_its_name_says(spec, expected):
    merge = Merge(spec, 2, 2, ndim=2)
    assert merge.out_channels == expected.shape[1]
    assert torch.equal(merge(X, SKIP), expected)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_gate_scales_all_channels_of_a_position_by_its_coefficient(ndim):
    torch.manual_seed(0)
    gate = AttentionGate(3, 4, ndim=ndim, hidden=2, norm="none").eval()
    signal, skip = torch.randn(2, 3, *[5] * ndim), torch.randn(2, 4, *[5] * ndim)
    project = {name: layer[0] for name, layer in gate.named_children()}
    mix = torch.relu(
        torch.einsum("nc...,kc->nk...", signal, project["gate"].weight.flatten(1))
        + torch.einsum("nc...,kc->nk...", skip, project["skip"].weight.flatten(1))
        + (project["gate"].bias + project["skip"].bias).reshape(1, -1, *[1] * ndim)
    )
    coefficient = project["coefficient"]
    weights = torch.sigmoid(torch.einsum("nc...,kc->nk...", mix, coefficient.weight.flatten(1)) + coefficient.bias)
    torch.testing.assert_close(gate(signal, skip), skip * weights)


def test_the_attention_merge_concatenates_the_scaled_skip():
    merge = Merge("attention", 2, 2, ndim=2).eval()
    torch.testing.assert_close(merge(X, SKIP), torch.cat([merge.attention(X, SKIP), X], 1))
