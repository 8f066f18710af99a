"""MONAI's networks behind the contract."""

from __future__ import annotations

import copy
import sys
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn

import unetzoo
from tests.activations import check_checkpointing

SMALL_DYNUNET = {"filters": [4, 8, 8, 8, 8]}
NETWORKS = {
    "attentionunet": {"channels": [4, 8, 8], "strides": [2, 2]},
    "basicunet": {"features": [4, 4, 8, 8, 8, 4]},
    "basicunetplusplus": {"features": [4, 4, 8, 8, 8, 4]},
    "dynunet": SMALL_DYNUNET,
    "segresnet": {"init_filters": 8},
    "segresnetds": {"init_filters": 8},
    "swinunetr": {"feature_size": 12, "depths": [1, 1, 1, 1]},
    "unet": {"channels": [4, 8, 8], "strides": [2, 2]},
    "unetr": {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 4},
    "vnet": {},
}


def create(name: str, **changes: object) -> unetzoo.DenseModel:
    return unetzoo.create(f"monai/{name}", num_classes=3, in_channels=1, **{**NETWORKS[name], **changes})


@pytest.mark.parametrize("name", NETWORKS)
def test_an_odd_size_comes_back_what_learns_has_gradients_and_the_weights_can_be_saved(name: str) -> None:
    model = create(name)
    logits = model(torch.randn(2, 1, 33, 47))
    assert logits.shape == (2, 3, 33, 47)
    logits.square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    safetensors.torch.save(model.state_dict())
    copy.deepcopy(model)


def test_three_dimensions_are_monais_spatial_dims() -> None:
    model = create("dynunet", ndim=3).eval()
    assert model(torch.randn(1, 1, 17, 20, 33)).shape == (1, 3, 17, 20, 33)


@pytest.mark.parametrize(("name", "levels"), [("basicunetplusplus", 4), ("dynunet", 2), ("segresnetds", 3)])
def test_deep_supervision_is_a_list_in_training_and_one_tensor_in_evaluation(name: str, levels: int) -> None:
    model = create(name, deep_supervision=True)
    x = torch.randn(2, 1, 33, 47)
    outputs = model(x)
    assert [tuple(logits.shape) for logits in outputs] == [(2, 3, 33, 47)] * levels
    sum(logits.square().mean() for logits in outputs).backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    copy.deepcopy(model)
    assert model.eval()(x).shape == (2, 3, 33, 47)


def test_deep_supervision_puts_the_output_of_evaluation_first() -> None:
    model = create("basicunetplusplus", deep_supervision=True)
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(model.train()(x)[0], model.eval()(x))


def test_deep_supervision_is_refused_where_the_network_has_none() -> None:
    with pytest.raises(unetzoo.ConfigError, match="no deep supervision"):
        create("unet", deep_supervision=True)


def test_dynunet_loads_a_state_dict_of_monai_with_its_second_names() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    options = {"kernel_size": [3] * 5, "strides": [1, 2, 2, 2, 2], "upsample_kernel_size": [2] * 4, **SMALL_DYNUNET}
    theirs = nets.DynUNet(2, 1, 3, **options).eval()
    ours = create("dynunet").eval()
    loaded = unetzoo.load_checkpoint(ours, theirs.state_dict())
    assert any(key.startswith("skip_layers") for key in loaded.dropped)
    x = torch.randn(1, 1, 32, 48)
    assert torch.equal(ours(x), theirs(x))


def test_vnets_dropout_is_that_of_its_dimensions_and_can_be_turned_off() -> None:
    model = create("vnet", dropout_prob_down=0.0, dropout_prob_up=(None, 0.0))
    kinds = {type(module) for module in model.modules() if "Dropout" in type(module).__name__}
    assert kinds <= {nn.Dropout2d}
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout2d)} == {0.0}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_output_layers_are_replaced_for_another_number_of_classes_and_no_others(name: str) -> None:
    model = create(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_head(3)
    fresh = {key.rpartition(".")[0] for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    model.reset_head(5)
    assert model.eval()(torch.randn(1, 1, 64, 64)).shape == (1, 5, 64, 64)
    after = model.state_dict()
    assert after.keys() == before.keys()
    reshaped = {key.rpartition(".")[0] for key in after if after[key].shape != before[key].shape}
    assert fresh <= reshaped
    assert len(fresh) > 0
    kept = [key for key in after if key.rpartition(".")[0] not in reshaped]
    assert len(kept) > len(after) / 2
    assert all(torch.equal(after[key], before[key]) for key in kept)
    assert model.num_classes == model.config.num_classes == 5


def test_the_heads_of_deep_supervision_are_replaced_as_well() -> None:
    model = create("dynunet", deep_supervision=True)
    model.reset_head(5)
    assert [logits.shape[1] for logits in model(torch.randn(2, 1, 32, 32))] == [5, 5]


@pytest.mark.parametrize("name", ["segresnetds", "swinunetr", "unet"])
def test_gradient_checkpointing_saves_activations_and_changes_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = create(name).double()
    x = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    check_checkpointing(model, x, 0.8)
    model.set_gradient_checkpointing(True)
    copy.deepcopy(model)


def test_options_named_like_our_blocks_are_monais_own() -> None:
    plain = create("unetr", res_block=False, conv_block=True)
    assert sum(p.numel() for p in plain.parameters()) != sum(p.numel() for p in create("unetr").parameters())
    with pytest.raises(unetzoo.ConfigError, match="rez_block"):
        create("unetr", rez_block=True)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match="feature_size"):
        create("swinunetr", feature_sise=12)


def test_the_way_of_showing_warnings_stays_that_of_the_process() -> None:
    shown = warnings.showwarning
    create("unet")
    assert warnings.showwarning is shown


def test_without_monai_the_names_stay_and_create_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    assert "monai/unetr" in unetzoo.list_models("monai/*")
    assert unetzoo.info("monai/unetr").year == 2021
    with pytest.raises(unetzoo.PluginError, match=r"pip install 'unetzoo\[monai\]'"):
        create("unet")
