"""Window attention, its shift, and patch expansion."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.nn.swin import PatchExpand, SwinStage


def test_patch_expansion_lays_each_channel_group_out_as_a_square():
    layer = PatchExpand(2, 1, 2)
    layer.norm = nn.Identity()
    with torch.no_grad():
        layer.expand.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]))
        out = layer(torch.tensor([[[[1.0, 0.0], [10.0, 0.0]]]]))
    expected = torch.tensor([[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]])[None, ..., None]
    torch.testing.assert_close(out, expected)


def test_without_shift_a_pixel_sees_its_window_alone_and_with_shift_the_neighboring_ones():
    for depth, reached in ((1, 4), (2, 8)):
        torch.manual_seed(0)
        stage = SwinStage(8, 8, heads=2, window_size=4, drop_path=[0.0] * depth).eval()
        x = torch.randn(1, 8, 8, 8, requires_grad=True)
        stage(x)[0, 3, 3, 0].backward()
        seen = x.grad.abs().sum(-1)[0] > 1e-10
        assert seen[:reached, :reached].all()
        assert int(seen.sum()) == reached**2


def test_a_stage_no_larger_than_its_window_is_not_shifted():
    stage = SwinStage(8, 4, heads=2, window_size=7, drop_path=[0.0, 0.0])
    assert [block.window_size for block in stage.blocks] == [(4, 4), (4, 4)]
    assert [block.shift_size for block in stage.blocks] == [(0, 0), (0, 0)]
