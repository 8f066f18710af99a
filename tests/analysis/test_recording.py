from __future__ import annotations

import torch
from torch import nn

from unetzoo.analysis.recording import Recording, record


def halving() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)).eval()


def recorded(remainder: int = 0) -> Recording:
    sizes = (8 + remainder, 16 + remainder), (16 + remainder, 8 + remainder)
    return record(halving(), 1, sizes, torch.zeros(0), (remainder, remainder))


def test_operations_carry_the_module_that_calls_them_and_their_strides():
    steps = [(operation.module, operation.strides) for operation in recorded().operations if operation.shapes]
    assert [step for step in steps if step[0]] == [("0", (2, 2)), ("1", (2, 2)), ("2", (1, 1))]


def test_maps_of_an_odd_image_are_one_pixel_longer_than_half_of_it():
    recording = recorded(remainder=1)
    conv, relu, result = (operation for operation in recording.operations if operation.module)
    assert conv.surplus == relu.surplus == (1, 1)
    assert conv.map_size((7, 11)) == (4, 6)
    assert result.map_size((7, 11)) == (8, 12)
    assert recording.is_aligned(0)


def test_a_map_that_is_longer_than_its_share_of_an_even_image_is_not_aligned():
    network = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2, padding=1)).eval()
    recording = record(network, 1, ((8, 16), (16, 8)), torch.zeros(0))
    assert recording.operations[0].surplus == (1, 1)
    assert not recording.is_aligned(0)


def test_hooks_are_gone_after_recording():
    network = halving()
    record(network, 1, ((8, 16), (16, 8)), torch.zeros(0))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
