"""`create` and the cards of what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import unetzoo
from unetzoo import ConfigError, DenseModel, ModelConfig, PluginError, UnknownNameError

TINY = {"encoder": {"channels": [4, 8]}}

pytestmark = pytest.mark.usefixtures("clean_registry")


def test_the_line_people_will_write_gives_logits_of_22_classes() -> None:
    model = unetzoo.create("dlinknet34", num_classes=22).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 97)).shape == (1, 22, 65, 97)
    assert model.card.title.startswith("D-LinkNet")
    assert model.config.num_classes == 22


def test_a_published_network_keeps_its_card_and_a_changed_one_claims_nothing() -> None:
    assert unetzoo.create("unet_bilinear").card.sizes.params == 17_263_042
    changed = unetzoo.create("unet", **TINY).card
    assert changed.sizes is None
    assert changed.checkpoints == {}
    assert changed.capabilities.min_size == (2, 2)


def test_overrides_that_change_nothing_leave_the_card_and_those_inside_a_model_component_do_not() -> None:
    same = unetzoo.create("unet", encoder={"channels": [64, 128, 256, 512, 1024]}, block="double_conv")
    assert same.card.sizes == unetzoo.info("unet").sizes is not None
    narrow = unetzoo.create("swin_unet", embed_dim=24, heads=[1, 1, 2, 2])
    assert narrow.card.sizes is None
    assert narrow.card.checkpoints == {}
    assert unetzoo.create("swin_unet").card.sizes is not None


def test_capabilities_describe_what_was_built() -> None:
    assert unetzoo.create("mednext_s", tiny=True).capabilities.frozen == ("center.unused",)
    assert unetzoo.create("mednext_s", tiny=True, center="identity").capabilities.frozen == ()
    assert unetzoo.create("unet", ndim=3, **TINY).capabilities.min_size == (2, 2, 2)


def test_info_tells_the_card_without_building_the_model() -> None:
    card = unetzoo.info("dlinknet34")
    assert (card.year, card.license, card.source) == (2018, "MIT", "unetzoo")
    assert card.parts == {"encoder": "timm/resnet34", "center": "dilated", "decoder": "linknet", "head": "linknet"}


@pytest.mark.parametrize("name", ["unet", "unet_bilinear", "linknet34", "dlinknet34"])
def test_the_smallest_size_on_the_card_is_the_models(name: str) -> None:
    assert (unetzoo.create(name).min_size,) * 2 == unetzoo.info(name).capabilities.of_ndim(2).min_size


def test_listing_filters_by_dimension_tag_source_and_weights() -> None:
    assert "swin_unet" not in unetzoo.list_models(ndim=3)
    assert {"linknet34", "dlinknet34"} <= set(unetzoo.list_models("*linknet*"))
    assert "unet" not in unetzoo.list_models(tags=["roads"])
    assert "dlinknet34" in unetzoo.list_models(tags="roads") == unetzoo.list_models(tags=["roads"])
    assert "unet" in unetzoo.list_models(pretrained=True)
    assert "linknet34" not in unetzoo.list_models(pretrained=True)
    assert unetzoo.list_models(source="nobody") == []


def test_a_yaml_file_of_the_users_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: unet\nencoder: {channels: [4, 8, 12]}\nnum_classes: 5\n")
    for reference in (path, str(path)):
        assert unetzoo.create(reference)(torch.randn(2, 3, 9, 9)).shape == (2, 5, 9, 9)


def test_a_model_config_creates_the_same_model_again() -> None:
    model = unetzoo.create("unet", **TINY, num_classes=3, in_channels=2)
    again = unetzoo.create(model.config)
    assert isinstance(model.config, ModelConfig)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 2, 8, 8)
    assert torch.equal(again.eval()(x), model.eval()(x))


def test_create_changes_nothing_that_it_is_given() -> None:
    decoder = {"skip": {"name": "concat", "skip_first": False}}
    unetzoo.create("unet", **TINY, decoder=decoder)
    assert decoder == {"skip": {"name": "concat", "skip_first": False}}


@pytest.mark.parametrize("value", [3, None])
def test_an_unknown_option_of_create_tells_the_nearest_key(value: object) -> None:
    with pytest.raises(ConfigError, match="num_clases: unknown key; did you mean 'num_classes'"):
        unetzoo.create("unet", num_clases=value)


def test_an_unknown_model_tells_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dlinknet34'"):
        unetzoo.create("dlinknet43")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"block": {"norm": "bach"}}, "unknown normalization 'bach'.*did you mean 'batch'"),
        ({"block": {"activation": "rel"}}, "unknown activation 'rel'.*did you mean 'relu'"),
        (
            {"block": {"norm": {"name": "group", "groups": 3}}},
            "normalization 'group': groups: unknown option; did you mean 'num_groups'",
        ),
        ({"block": {"norm": {"name": "group", "num_groups": 0}}}, "num_groups: expected a number of at least 1, got 0"),
        ({"block": {"order": "cnn"}}, "order is 'cnn'; expected the letters c, n, a"),
        ({"decoder": {"upsample": "deconf"}}, "unknown upsampling 'deconf'.*did you mean 'deconv'"),
        (
            {"decoder": {"skip": "add", "upsample": "linear"}},
            "skip 'add' needs equal channels: the decoder has 8, the skip 4",
        ),
        ({"decoder": {"decoder_channels": [4, 4]}}, r"2 decoder_channels.*expected 1 numbers from 1, one for each of"),
        ({"encoder": {"channels": [4, 8], "factors": [1]}}, "2 channels.* 1 factors"),
        ({"encoder": "timm/vit_tiny_patch16_224", "ndim": 3}, "timm.*has no 3-D form"),
    ],
)
def test_a_combination_that_cannot_work_says_so_at_create(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        unetzoo.create("unet", **{**TINY, **overrides})


def test_pretrained_of_an_encoder_without_weights_says_which_have() -> None:
    with pytest.raises(ConfigError, match="encoder 'conv' has no pretrained weights; choose one that has"):
        unetzoo.create("unet_bilinear", pretrained=True)


class Half(DenseModel):
    """Half of the mean of the channels: the smallest model."""

    about = {"title": "Half", "capabilities": {"dimensions": [2]}}

    def __init__(self, *, in_channels: int, num_classes: int, scale: float = 0.5) -> None:
        super().__init__(in_channels=in_channels, num_classes=num_classes, ndim=2)
        self.scale = nn.Parameter(torch.full((1, num_classes, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.scale * x.mean(1, keepdim=True)


def test_a_model_component_gets_its_options_and_meets_the_contract() -> None:
    unetzoo.register("model", "half", Half)
    model = unetzoo.create("half", num_classes=2, scale=0.25)
    assert model(torch.ones(1, 3, 4, 5)).shape == (1, 2, 4, 5)
    assert model.scale.flatten().tolist() == [0.25, 0.25]
    assert unetzoo.info("half").title == "Half"
    with pytest.raises(ConfigError, match=r"model\.scal: unknown option of Half; did you mean 'scale'"):
        unetzoo.create("half", scal=1)
    with pytest.raises(ConfigError, match="'half' cannot be created with ndim=3"):
        unetzoo.create("half", ndim=3)
    with pytest.raises(ConfigError, match="'half' has no pretrained weights"):
        unetzoo.create("half", pretrained=True)


def test_a_model_that_is_no_dense_model_is_refused_with_what_to_do() -> None:
    unetzoo.register("model", "plain", lambda in_channels, num_classes: nn.Conv2d(in_channels, num_classes, 1))
    with pytest.raises(PluginError, match="is a Conv2d; expected a subclass of unetzoo.DenseModel"):
        unetzoo.create("plain")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"in_chans": 1}, "in_channels"),
        ({"encoder_name": "resnet18"}, "encoder"),
        ({"spatial_dims": 3}, "ndim"),
    ],
)
def test_what_other_libraries_call_an_argument_leads_to_ours(theirs: dict[str, object], ours: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key; did you mean '{ours}'"):
        unetzoo.create("unet", **theirs)


def test_a_number_of_classes_is_not_taken_for_their_names() -> None:
    with pytest.raises(ConfigError, match=r"classes: expected the names of the classes; did you mean num_classes=3\?"):
        unetzoo.create("unet", classes=3)
    assert unetzoo.create("unet", classes=["no", "yes"], **TINY).classes.names == ("no", "yes")
