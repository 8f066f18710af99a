"""The U-Net's decoder: what reaches the output, how sizes are met, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import unetzoo
from unetzoo.decoders.unet import UNetDecoder
from unetzoo.errors import ConfigError
from unetzoo.nn.dims import multiply, per_axis
from unetzoo.nn.typing import Size

SMALL = {"encoder": {"channels": [4, 6, 8]}}


def reaching_levels(name: str) -> list[bool]:
    """Whether the Jacobian of the logits by each encoder level's features is other than zero."""
    torch.manual_seed(0)
    model = unetzoo.create(name, **SMALL).eval()
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 3, 16, 24))
    levels = [feature.requires_grad_() for feature in features]
    decoded = model.decoder([model.center(level) if level is levels[-1] else level for level in levels])
    logits = model.head(decoded, size=(16, 24))
    gradients = torch.autograd.grad(logits.square().sum(), levels, allow_unused=True)
    return [gradient is not None and bool(gradient.any()) for gradient in gradients]


def test_only_the_bottleneck_reaches_the_output_of_the_autoencoder():
    assert reaching_levels("autoencoder") == [False, False, True]


def test_every_level_reaches_the_output_of_the_unet():
    assert reaching_levels("unet") == [True, True, True]


@pytest.mark.parametrize("size", [(18, 18, 18), (22, 19, 26)])
def test_an_unpadded_network_of_two_levels_crops_in_3d(size):
    model = unetzoo.create("unet_valid", ndim=3, encoder={"channels": [2, 4], "dropout": []}).eval()
    model._least = (18, 18, 18)
    expected = [2 * ((length - 4) // 2 - 4) - 4 for length in size]
    assert list(model(torch.randn(1, 1, *size)).shape[2:]) == expected


def test_the_first_and_the_last_pixel_of_an_unpadded_network_see_as_far_on_their_sides():
    model = unetzoo.create("unet_valid", encoder={"channels": [2, 2, 2, 2, 2], "downsample": "avg"}).eval()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 1, 204, 204, requires_grad=True)
    logits = model(x)
    assert logits.shape[2:] == (20, 20)
    reach = []
    for row in (0, 19):
        (gradient,) = torch.autograd.grad(logits[..., row, :].sum(), x, retain_graph=True)
        seen = gradient[0, 0].abs().sum(1).nonzero()
        reach.append((int(seen.min()), int(seen.max())))
    (first, far), (near, last) = reach
    assert (first, last) == (0, 203)
    assert far == 203 - near


def test_resize_interpolates_straight_to_the_skip_and_pad_adds_zeros():
    features = [torch.zeros(1, 2, 5, 7), torch.randn(1, 2, 2, 3)]
    options = {"encoder": {"channels": [2, 2]}, "block": {"name": "identity"}, "in_channels": 2, "num_classes": 2}
    decoders = {
        align: unetzoo.create("unet", decoder={"upsample": "linear", "skip": "add", "align": align}, **options).decoder
        for align in ("resize", "pad")
    }
    straight = F.interpolate(features[1], size=(5, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(decoders["resize"](features)[0], straight)
    doubled = F.interpolate(features[1], scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(decoders["pad"](features)[0], F.pad(doubled, (0, 1, 0, 1)))


def test_a_merge_can_be_named_for_each_skip_coarsest_first():
    model = unetzoo.create("unet", decoder={"skip": ["none", "add"]}, **SMALL)
    assert [stage.merge.name for stage in model.decoder.stages] == ["none", "add"]
    assert model(torch.randn(2, 3, 17, 21)).shape == (2, 1, 17, 21)


def test_dropout_stands_behind_the_last_stages():
    model = unetzoo.create("unet", decoder={"dropout": [0.25], "dropout_kind": "element"}, **SMALL)
    first, last = (stage.drop for stage in model.decoder.stages)
    assert isinstance(first, torch.nn.Identity)
    assert isinstance(last, torch.nn.Dropout)
    assert last.p == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_channels": [8]}, "1 decoder_channels.*expected 2"),
        ({"up_channels": [8, 8, 8]}, "3 up_channels.*expected 2"),
        ({"skip": ["concat"]}, "1 skip merges.*2 skips"),
        ({"skip": "multiply"}, "unknown skip merge 'multiply'.*add, attention, concat, none"),
        ({"skip": "add", "upsample": "linear"}, "skip 'add' needs equal channels: the decoder has 8, the skip 6"),
        ({"skip": {"name": "add", "hidden": 3}}, "skip merge 'add': hidden: unknown option"),
        ({"dropout": [0.1, 0.1, 0.1]}, "3 dropout probabilities for 2 levels"),
        ({"dropout": [1.5]}, "a dropout probability is 1.5"),
    ],
)
def test_what_cannot_work_is_told_at_create(options, message):
    with pytest.raises(ConfigError, match=message):
        unetzoo.create("unet", decoder=options, **SMALL)


def test_a_skip_passes_its_block_and_the_merge_takes_what_comes_out():
    options = {"skip_block": "conv", "skip_channels": [3, 2], "skip_per_level": {"kernel_size": [1, 5]}}
    decoder = unetzoo.create("unet", decoder=options, **SMALL).decoder
    widths = SMALL["encoder"]["channels"]
    assert [stage.skip_path.conv.in_channels for stage in decoder.stages] == [widths[1], widths[0]]
    assert [stage.skip_path.conv.out_channels for stage in decoder.stages] == [3, 2]
    assert [stage.skip_path.conv.kernel_size for stage in decoder.stages] == [(1, 1), (5, 5)]
    assert [stage.merge.out_channels for stage in decoder.stages] == [widths[1] + 3, widths[0] + 2]


def test_depths_and_block_options_differ_between_stages():
    options = {"depths": [1, 3], "per_level": {"kernel_size": [3, 5]}}
    decoder = unetzoo.create("unet", decoder=options, **SMALL).decoder
    assert [len(list(stage.block)) for stage in decoder.stages] == [2, 3]
    assert decoder.stages[0].block[0].conv.kernel_size == (3, 3)
    assert decoder.stages[1].block[2][1].conv.kernel_size == (5, 5)


def test_a_block_can_upsample_itself():
    model = unetzoo.create("unet", block="mednext", decoder={"upsample": "block", "skip": "add"}, **SMALL)
    assert isinstance(model.decoder.stages[0].up.depthwise, torch.nn.ConvTranspose2d)
    assert model(torch.randn(2, 3, 17, 21)).shape == (2, 1, 17, 21)


def test_the_coarsest_features_can_be_kept_for_supervision():
    model = unetzoo.create("unet", decoder={"keep_bottom": True}, deep_supervision=True, **SMALL)
    bottom = model.encoder.channels[-1]
    assert model.decoder.channels[-1] == bottom
    assert model.head.convs[-1].in_channels == bottom
    assert len(model.train()(torch.randn(2, 3, 16, 16))) == 3


def test_resize_brings_a_transposed_convolution_to_the_skip_by_the_nearest_neighbor():
    options = {"upsample": {"name": "deconv", "kernel_size": 3, "padding": "inner"}, "skip": "add", "align": "resize"}
    stage = unetzoo.create("unet", decoder=options, **SMALL).decoder.stages[-1]
    x, skip = torch.randn(1, stage.up[0].conv.in_channels, 4, 3), torch.zeros(1, stage.up.out_channels, 8, 7)
    inner = stage.up(x)
    assert inner.shape[2:] == (7, 5)
    aligned, _ = stage._aligned(x, skip)
    torch.testing.assert_close(aligned, F.interpolate(inner, size=(8, 7), mode="nearest"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [1]}, "depths .1.: expected 2"),
        ({"per_level": {"kernel_size": [3]}}, "1 values of 'kernel_size'"),
        ({"skip_channels": [3, 2]}, "go with a skip_block"),
        ({"skip_block": "conv", "skip_channels": [3]}, "1 skip_channels: expected 2"),
        ({"skip_block": "identity", "skip_channels": [3, 2]}, "identity block cannot turn"),
        ({"upsample": "block"}, "it has no transposed"),
    ],
)
def test_stage_options_that_cannot_work_are_told_at_create(options, message):
    with pytest.raises(ConfigError, match=message):
        unetzoo.create("unet", decoder=options, **SMALL)


@pytest.mark.parametrize(
    ("finest", "stages"), [((1, 2, 2), [1]), ((1, 4, 2), [(1, 2, 1), 1]), (4, [2, 1]), ((2, 1, 1), [1])]
)
def test_a_finest_level_that_is_coarse_along_some_axes_gets_stages_up_to_full_resolution(
    finest: Size, stages: list[Size]
) -> None:
    coarse = multiply(finest, 2, 3)
    decoder = UNetDecoder([2, 4], [finest, coarse], ndim=3, decoder_channels=[2] * (1 + len(stages)))
    assert decoder.strides == [*stages[::-1], finest]
    size = (8, 8, 8)
    features = [
        torch.ones(1, width, *(s // f for s, f in zip(size, per_axis(stride, 3), strict=True)))
        for width, stride in ((2, finest), (4, coarse))
    ]
    assert decoder(features)[0].shape == (1, 2, *size)
