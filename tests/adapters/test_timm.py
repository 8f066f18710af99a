"""timm backbones as encoders: any size, any pattern of strides, real weights, freezing and checkpointing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

import unetzoo
from tests.activations import check_checkpointing
from unetzoo.adapters.timm import TimmEncoder
from unetzoo.adapters.timm.families import takes

# One small backbone of each way that timm's features come: strides from 2, 4, 1, 8; channels last; windows; unpadded
# stems; sizes that must divide; one stride; a fixed image size; a hook network; no power of two.
SPREAD = [
    "test_resnet",
    "convnext_atto",
    "vgg11",
    "levit_conv_128s",
    "swinv2_cr_tiny_224",
    "mambaout_femto",
    "dla34",
    "test_vit",
    "vit_tiny_patch16_224",
    "mixer_s32_224",
    "pit_ti_224",
    "mobilevit_xxs",
]


def features_of(encoder: TimmEncoder, size: tuple[int, int]) -> list[torch.Tensor]:
    return encoder(torch.randn(2, 3, *size))


@pytest.mark.parametrize("name", SPREAD)
def test_features_have_the_declared_channels_and_strides_at_an_odd_size_and_all_parameters_learn(name: str) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(3, ndim=2, backbone=name)
    size = (75, 61)
    features = features_of(encoder, size)
    promised = [
        (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert [tuple(feature.shape) for feature in features] == promised
    assert encoder.strides == sorted(encoder.strides)
    assert all(math.log2(stride).is_integer() for stride in encoder.strides)
    sum(feature.square().mean() for feature in features).backward()
    assert [key for key, parameter in encoder.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["inception_v4", "test_nfnet"])
def test_a_model_on_the_backbone_takes_an_odd_size(name: str) -> None:
    model = unetzoo.create("unet", num_classes=2, encoder=f"timm/{name}").eval()
    assert model(torch.randn(1, 3, 75, 101)).shape == (1, 2, 75, 101)


def test_at_a_divisible_size_the_features_are_timms_own() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="test_resnet").eval()
    x = torch.randn(1, 3, 64, 96)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(encoder(x), encoder.model(x), strict=True))


def test_features_of_an_odd_size_are_those_of_the_image_padded_with_zeros() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="test_resnet").eval()
    x = torch.randn(1, 3, 50, 96)
    padded = torch.zeros(1, 3, 64, 96)
    padded[:, :, :50] = x
    expected = [f[:, :, : math.ceil(50 / s)] for f, s in zip(encoder.model(padded), encoder.strides, strict=True)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(encoder(x), expected, strict=True))


def test_channels_last_features_are_permuted_by_what_timm_declares() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="mambaout_femto").eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(x)[0], encoder.model(x)[0].permute(0, 3, 1, 2))


def test_a_backbone_of_one_fixed_size_sees_the_image_resized_to_it() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="mixer_s32_224").eval()
    seen: list[torch.Size] = []
    encoder.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    features_of(encoder, (96, 130))
    assert seen == [(2, 3, 224, 224)]


def test_img_size_builds_a_fixed_backbone_for_another_size() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="mixer_s32_224", img_size=(64, 96)).eval()
    seen: list[torch.Size] = []
    encoder.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    features_of(encoder, (64, 96))
    assert seen == [(2, 3, 64, 96)]


def test_every_pixel_of_a_larger_image_reaches_a_backbone_of_one_size() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="mixer_s32_224", img_size=(64, 96)).eval()
    x = torch.randn(1, 3, 256, 480, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(x)[-1].square().sum(), x)
    assert bool((gradient != 0).any(1).all())


def test_a_plain_transformer_gives_the_strides_of_the_simple_feature_pyramid() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="test_vit", pyramid_channels=8)
    assert encoder.strides == [4, 8, 16, 32]
    assert encoder.channels == [8, 8, 8, 8]


def test_depth_takes_levels_from_the_finest_and_leaves_no_deeper_layers() -> None:
    whole = TimmEncoder(3, ndim=2, backbone="test_resnet")
    part = TimmEncoder(3, ndim=2, backbone="test_resnet", depth=3)
    assert part.strides == whole.strides[:3]
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    assert TimmEncoder(3, ndim=2, backbone="test_vit", depth=2).strides == [4, 8]


def test_levels_and_depth_together_are_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match="levels and depth"):
        TimmEncoder(3, ndim=2, backbone="test_resnet", depth=2, levels=(0,))


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match="4 levels"):
        TimmEncoder(3, ndim=2, backbone="test_vit", levels=(7,))


def test_output_stride_dilates_where_timm_can_and_is_refused_where_not() -> None:
    encoder = TimmEncoder(3, ndim=2, backbone="test_resnet", output_stride=8)
    assert encoder.strides == [2, 4, 8, 8, 8]
    assert [f.shape[2] for f in features_of(encoder, (64, 64))] == [32, 16, 8, 8, 8]
    with pytest.raises(unetzoo.ConfigError, match="output_stride=8"):
        TimmEncoder(3, ndim=2, backbone="vgg11", output_stride=8)


def test_a_backbone_without_a_pyramid_is_refused_with_the_reason() -> None:
    with pytest.raises(unetzoo.ConfigError, match="two scales"):
        unetzoo.create("unet", encoder="timm/crossvit_tiny_240")


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(unetzoo.ConfigError, match="drop_pth_rate"):
        unetzoo.create("unet", encoder={"name": "timm/test_resnet", "drop_pth_rate": 0.1})


def test_an_unknown_backbone_is_answered_with_near_names() -> None:
    with pytest.raises(unetzoo.ConfigError, match="resnet34"):
        unetzoo.create("unet", encoder="timm/resnet43")


def test_pretrained_loads_a_local_file_and_adapts_the_first_convolution(tmp_path) -> None:
    torch.manual_seed(1)
    source = timm.create_model("test_resnet")
    file = tmp_path / "weights.pth"
    torch.save(source.state_dict(), file)
    part = {"name": "timm/test_resnet", "weights": str(file)}
    model = unetzoo.create("unet", encoder=part, pretrained=True)
    theirs = source.state_dict()
    ours = model.encoder.model.state_dict()
    shared = [key for key in ours if key in theirs]
    assert len(shared) == len(ours)
    assert all(torch.equal(ours[key], theirs[key]) for key in shared)
    gray = unetzoo.create("unet", encoder=part, pretrained=True, in_channels=1).encoder.model.state_dict()
    (stem,) = [key for key in ours if gray[key].shape != ours[key].shape]
    torch.testing.assert_close(gray[stem], theirs[stem].sum(1, keepdim=True))


def test_weights_that_are_neither_file_nor_package_are_refused() -> None:
    part = {"name": "timm/test_resnet", "weights": "nowhere.pth"}
    with pytest.raises(unetzoo.CheckpointError, match=r"nowhere\.pth"):
        unetzoo.create("unet", encoder=part, pretrained=True)


def test_a_saved_model_comes_back_without_looking_for_encoder_weights(tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    part = {"name": "timm/test_resnet", "weights": str(file)}
    model = unetzoo.create("unet", encoder=part, pretrained=True).eval()
    unetzoo.save_pretrained(model, tmp_path / "saved")
    file.unlink()
    again = unetzoo.from_pretrained(tmp_path / "saved")
    x = torch.randn(1, 3, 33, 40)
    assert torch.equal(again(x), model(x))


def test_a_frozen_encoder_neither_learns_nor_drops_nor_moves_its_statistics() -> None:
    model = unetzoo.create("unet", encoder={"name": "timm/test_resnet", "drop_path_rate": 0.5})
    model.freeze_encoder()
    model.train()
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    x = torch.randn(2, 3, 64, 64)
    first, second = model.encoder(x), model.encoder(x)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    model(x).sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.encoder.state_dict().items())


def test_freezing_until_a_level_leaves_the_coarser_ones_to_learn() -> None:
    model = unetzoo.create("unet", encoder={"name": "timm/test_resnet", "drop_path_rate": 0.5})
    model.freeze_encoder(until=2)
    model.eval().train()
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in model.encoder.state_dict().items() if not torch.equal(before[key], value)}
    assert {key.split(".")[1] for key in changed} == {"layer3", "layer4"}
    with pytest.raises(unetzoo.ConfigError, match="to 4"):
        model.freeze_encoder(until=5)


def test_a_transformer_is_frozen_whole_at_its_first_level_but_for_the_coarser_pyramid() -> None:
    model = unetzoo.create("unet", encoder={"name": "timm/test_vit", "pyramid_channels": 8})
    model.freeze_encoder(until=1)
    learning = {name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad}
    assert {".".join(name.split(".")[:3]) for name in learning} == {"pyramid.levels.2", "pyramid.levels.3"}
    assert not model.train().encoder.model.training


@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto", "tf_efficientnet_lite0", "test_vit", "xception41"])
def test_layer_decay_is_timms_own(name: str) -> None:
    whole = timm.create_model(name)
    groups = param_groups_layer_decay(whole, layer_decay=0.5)
    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    theirs = {key: scales[id(parameter)] for key, parameter in whole.named_parameters()}
    model = unetzoo.create("unet", encoder=f"timm/{name}")
    ours = {id(p): group["lr"] for group in model.param_groups(1.0, layer_decay=0.5) for p in group["params"]}
    found = {}
    for key, parameter in model.encoder.model.named_parameters():
        plain = key.removeprefix("model.").removeprefix("body.")
        known = [whole_key for whole_key in theirs if whole_key in (plain, plain.replace("_", ".", 1))]
        found[known[0]] = ours[id(parameter)]
    steepest = min(theirs.values())
    assert len({found[key] for key in found}) > 3
    ratios = {found[key] / theirs[key] for key in found}
    assert max(ratios) == pytest.approx(min(ratios)), "the same layers, the decoder in the place of the classifier"
    assert min(found.values()) == pytest.approx(steepest * max(ratios))
    assert max(found.values()) == 0.5


def test_the_new_pyramid_learns_at_the_decoders_rate() -> None:
    model = unetzoo.create("unet", encoder="timm/test_vit")
    rates = {id(p): group["lr"] for group in model.param_groups(1.0, layer_decay=0.5) for p in group["params"]}
    assert {rates[id(parameter)] for parameter in model.encoder.pyramid.parameters()} == {1.0}


def test_a_backbone_that_timm_has_no_order_for_decays_by_its_levels() -> None:
    model = unetzoo.create("unet", encoder="timm/pit_ti_224")
    rates = {group["lr"] for group in model.param_groups(1.0, layer_decay=0.5)}
    assert rates == {1.0, 0.5, 0.25, 0.125}


# hrnet has no checkpointing of timm's: it is computed again as a whole.
@pytest.mark.parametrize("name", ["resnet18", "test_vit", "test_efficientnet", "hrnet_w18_small"])
def test_gradient_checkpointing_reaches_the_backbone_saves_activations_and_changes_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(3, ndim=2, backbone=name, pyramid_channels=8).double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    check_checkpointing(encoder, x, 0.6)


def pretrained(backbone: str, folder: Path, **options: object) -> unetzoo.DenseModel:
    """A U-Net on weights from a file, as if they were the published ones."""
    torch.save(timm.create_model(backbone).state_dict(), folder / "weights.pth")
    encoder = {"name": f"timm/{backbone}", "weights": str(folder / "weights.pth")}
    return unetzoo.create("unet", encoder=encoder, pretrained=True, **options)


def test_preprocessing_tells_mean_deviation_range_and_interpolation(tmp_path: Path) -> None:
    found = pretrained("tf_efficientnet_lite0", tmp_path).preprocessing
    assert found is not None
    assert (found.mean, found.std, found.input_range) == ((0.5,) * 3, (0.5,) * 3, (0.0, 1.0))
    assert (found.interpolation, found.size, found.channels) == ("bicubic", (224, 224), "rgb")
    gray = pretrained("resnet18", tmp_path, in_channels=1).preprocessing
    assert gray is not None
    assert gray.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    solid = pretrained("resnet18", tmp_path, in_channels=1, ndim=3).preprocessing
    assert solid is not None
    assert (solid.ndim, solid.size, solid.channels) == (3, None, "gray")


def test_an_encoder_that_loads_no_weights_claims_no_preprocessing() -> None:
    assert unetzoo.create("unet", encoder={"name": "conv", "channels": [4, 8]}).preprocessing is None
    assert unetzoo.create("unet", encoder="timm/resnet18").preprocessing is None


def test_an_option_is_taken_where_it_is_an_argument_and_not_where_it_is_a_local_variable() -> None:
    assert takes("vit_tiny_patch16_224", "dynamic_img_size")
    assert not takes("vit_tiny_patch16_224", "embed_args")  # of VisionTransformer.__init__


def test_the_order_of_layers_is_that_of_the_backbone_with_its_options() -> None:
    shallower = {"name": "timm/swin_tiny_patch4_window7_224", "depths": [2, 2, 2, 2]}
    distances = unetzoo.create("unet", encoder=shallower).encoder.layer_distances()
    assert distances["model.patch_embed.proj.weight"] == 2 + 2 + 2 + 2 + 1


def test_timm_does_not_warn_of_a_classifier_that_an_encoder_does_not_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = timm.create_model("test_resnet").state_dict()
    torch.save(whole, tmp_path / "weights.pth")
    with caplog.at_level("INFO", logger="timm"):
        encoder = {"name": "timm/test_resnet", "weights": str(tmp_path / "weights.pth")}
        unetzoo.create("unet", encoder=encoder, pretrained=True)
    assert "Unexpected keys" not in caplog.text
