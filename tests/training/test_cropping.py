"""Targets are brought to the part of the image that an output covers."""

from __future__ import annotations

import torch

from unetzoo.training.cropping import center_crop


def test_an_output_smaller_than_the_target_is_compared_with_the_center() -> None:
    target = torch.arange(48).reshape(1, 6, 8)
    assert center_crop(target, torch.zeros(1, 3, 2, 4)).tolist() == [[[18, 19, 20, 21], [26, 27, 28, 29]]]
    assert torch.equal(center_crop(target, torch.zeros(1, 3, 6, 8)), target)


def test_volumes_are_cropped_along_every_axis() -> None:
    target = torch.arange(125).reshape(1, 5, 5, 5)
    assert center_crop(target, torch.zeros(1, 2, 1, 3, 1)).flatten().tolist() == [57, 62, 67]
