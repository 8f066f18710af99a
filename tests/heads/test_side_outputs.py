"""Side outputs: the list in training, the one tensor in evaluation, and that nothing is built in vain."""

from __future__ import annotations

import torch

from unetzoo.heads.side_outputs import SideOutputsHead

FEATURES = [torch.randn(2, 3, 8, 12), torch.randn(2, 4, 4, 6), torch.randn(2, 5, 2, 3)]


def head(**options: bool) -> SideOutputsHead:
    torch.manual_seed(0)
    return SideOutputsHead([3, 4, 5], [1, 2, 4], 2, ndim=2, **options)


def test_the_fused_logits_are_a_1x1_convolution_of_all_side_outputs_and_come_first():
    fused, *sides = head(deep_supervision=True).train()(FEATURES, (8, 12))
    torch.testing.assert_close(fused, head(deep_supervision=True).fuse(torch.cat(sides, dim=1)))
    assert [tuple(side.shape) for side in sides] == [(2, 2, 8, 12)] * 3


def test_evaluation_returns_the_first_of_the_list_alone():
    for fuse in (True, False):
        supervised = head(fuse=fuse, deep_supervision=True)
        first = supervised.train()(FEATURES, (8, 12))[0]
        torch.testing.assert_close(supervised.eval()(FEATURES, (8, 12)), first)


def test_without_fusion_and_supervision_only_the_finest_side_output_is_built():
    assert len(head(fuse=False).sides) == 1
    assert len(head(fuse=False, deep_supervision=True).sides) == 3
    assert len(head().sides) == 3
