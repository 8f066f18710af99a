"""What probing dares to run, and what it finds of networks that take few sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from unetzoo.capabilities import Capabilities
from unetzoo.conformance import check_model
from unetzoo.conformance.measuring.reach import affordable


class PatchAttention(nn.Module):
    """Attention of one channel over patches of four by four pixels: few operations, many scores."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 1, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2)
        y = (tokens.transpose(1, 2) @ tokens).softmax(-1) @ tokens.transpose(1, 2)
        return F.interpolate(y.transpose(1, 2).unflatten(2, [s // 4 for s in x.shape[2:]]), size=x.shape[2:])


class SmallImagesOnly(SmallUNet):
    """A table of positions for images of at most 48 pixels a side."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.positions = nn.Parameter(torch.randn(1, num_classes, 48, 48))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.positions[..., : x.shape[2], : x.shape[3]]


@pytest.mark.parametrize(("model", "fits"), [(PatchAttention(), False), (SmallUNet(3, 1).eval(), True)])
def test_a_forward_that_would_fill_the_memory_is_not_tried(model: nn.Module, fits: bool) -> None:
    assert affordable(model, 3, (256, 256), Capabilities(), (64, 64))
    assert affordable(model, 3, (1024, 1024), Capabilities(), (64, 64)) is fits


def test_a_network_that_takes_small_images_alone_is_probed_with_those() -> None:
    report = check_model(SmallImagesOnly, checks=["check_forward_runs", "check_output_shape"])
    assert report.capabilities.min_size == (4, 4)
    assert report["check_forward_runs"].status == "passed"
    assert "is legal (minimum [4, 4]" in report["check_output_shape"].message
