"""The heads of levels that are supervised in another setting."""

from __future__ import annotations

import torch

from unetzoo.heads.conv import ConvHead

FEATURES = [torch.randn(1, 3, 8, 8), torch.randn(1, 4, 4, 4)]


def test_all_levels_have_heads_of_which_unsupervised_ones_do_not_learn() -> None:
    head = ConvHead([3, 4], [1, 2], 2, ndim=2, all_levels=True).train()
    assert head(FEATURES, (8, 8)).shape == (1, 2, 8, 8)
    assert [conv.weight.requires_grad for conv in head.convs] == [True, False]


def test_with_deep_supervision_all_levels_learn_and_share_one_checkpoint() -> None:
    plain = ConvHead([3, 4], [1, 2], 2, ndim=2, all_levels=True)
    deep = ConvHead([3, 4], [1, 2], 2, ndim=2, deep_supervision=True)
    deep.load_state_dict(plain.state_dict())
    assert all(parameter.requires_grad for parameter in deep.parameters())


def test_a_transposed_head_computes_what_the_transposed_weight_does() -> None:
    plain = ConvHead([3, 4], [1, 2], 2, ndim=2)
    transposed = ConvHead([3, 4], [1, 2], 2, ndim=2, transposed=True)
    state = {key: value.transpose(0, 1) if value.ndim > 1 else value for key, value in plain.state_dict().items()}
    transposed.load_state_dict(state)
    torch.testing.assert_close(transposed(FEATURES, (8, 8)), plain(FEATURES, (8, 8)))
