"""The contract of every model: sizes, input checks, freezing, heads, groups, checkpointing, compile and export."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import unetzoo
from tests.activations import check_checkpointing
from unetzoo import ConfigError, DenseModel, InputError

TINY = {"encoder": {"channels": [4, 8, 16]}}


def tiny(**overrides: object) -> DenseModel:
    return unetzoo.create("unet", **{**TINY, **overrides})


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (16, 33), (31, 64)])
def test_any_size_from_min_size_up_comes_back_at_the_inputs_size(size: tuple[int, int]) -> None:
    model = tiny(num_classes=3).eval()
    assert model.min_size == 4
    assert model(torch.randn(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("encoder", ["conv", "timm/resnet18", "timm/convnext_atto"])
@pytest.mark.parametrize("decoder", ["unet", "linknet"])
@pytest.mark.parametrize("head", ["conv", "linknet"])
def test_encoders_decoders_and_heads_combine_at_odd_sizes(encoder: str, decoder: str, head: str) -> None:
    parts = {"encoder": encoder, "decoder": decoder, "head": head}
    if encoder == "conv":
        parts["encoder"] = {"name": "conv", "channels": [8, 16, 24]}
    model = unetzoo.create(parts, num_classes=2).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 99)).shape == (1, 2, 65, 99)


def test_one_source_serves_two_and_three_dimensions() -> None:
    model = tiny(ndim=3, in_channels=1, num_classes=2)
    assert model(torch.randn(2, 1, 9, 8, 7)).shape == (2, 2, 9, 8, 7)
    assert isinstance(model.encoder.stages[0].block[0].conv, nn.Conv3d)


@pytest.mark.parametrize("decoder", ["unet", "linknet"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_parameter_is_used_and_gets_a_gradient(decoder: str, ndim: int) -> None:
    model = tiny(decoder=decoder, ndim=ndim, center="dilated", deep_supervision=False)
    x = torch.randn(2, 3, *(17, 14, 13)[:ndim])
    model(x).mul(torch.randn(2, 1, *x.shape[2:])).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 4, 16, 16), r"has 4 channels, shape \(1, 4, 16, 16\); expected a float tensor \(N, 3, H, W\)"),
        (torch.zeros(1, 16, 16, 3), "move the channels to axis 1"),
        (torch.zeros(3, 16, 16), r"has 3 axes.*add the batch axis"),
        (torch.zeros(1, 3, 8, 16, 16), "has 5 axes"),
        (torch.zeros(1, 3, 3, 16), "is 3x16; expected at least 4x4"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "of dtype torch.uint8.*float"),
        ([[1.0]], "is a list"),
    ],
)
def test_wrong_input_is_refused_before_any_layer_runs(x: torch.Tensor, message: str) -> None:
    model = tiny()
    called: list[str] = []
    model.encoder.register_forward_hook(lambda *_: called.append("encoder"))
    with pytest.raises(InputError, match=message):
        model(x)
    assert called == []


@pytest.mark.parametrize("num_classes", [0, -1, True, 2.0, "2"])
def test_a_number_of_classes_that_is_none_is_refused(num_classes: object) -> None:
    with pytest.raises(ConfigError, match="num_classes"):
        unetzoo.create("unet", num_classes=num_classes)


def encoder_state(model: DenseModel) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.encoder.state_dict().items()}


def test_a_frozen_encoder_stays_frozen_through_train_and_eval() -> None:
    model = tiny(block={"dropout": 0.5})
    model.freeze_encoder()
    before = encoder_state(model)
    model.eval()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(2, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in encoder_state(model).items())
    assert all(p.grad is None for p in model.encoder.parameters())
    x = torch.randn(1, 3, 16, 16)
    first, second = (model.encoder(x)[-1] for _ in range(2))
    assert torch.equal(first, second), "dropout of a frozen encoder is off"
    assert model.decoder.training


def test_unfreezing_gives_the_encoder_back_its_gradients_and_the_models_mode() -> None:
    model = tiny()
    model.freeze_encoder()
    model.unfreeze_encoder()
    assert model.encoder.training
    before = encoder_state(model)
    model(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert not torch.equal(
        before["stages.0.block.0.norm.running_mean"], model.encoder.stages[0].block[0].norm.running_mean
    )


def test_a_frozen_encoder_stays_frozen_in_a_copy_and_a_pickle() -> None:
    model = tiny()
    model.freeze_encoder()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not twin.train().encoder.training


def test_freezing_until_a_level_holds_all_that_it_is_computed_from_and_nothing_else() -> None:
    model = tiny(block={"dropout": 0.5})
    model.freeze_encoder(until=1)
    model.eval().train()
    stages = model.encoder.stages
    before = encoder_state(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.encoder(x)[1], model.encoder(x)[1]), "dropout of what is frozen is off"
    model(x).square().mean().backward()
    optimizer.step()
    changed = {key.split(".")[1] for key, value in encoder_state(model).items() if not torch.equal(before[key], value)}
    assert changed == {"2"}
    assert [stage.training for stage in stages] == [False, False, True]
    model.freeze_encoder(until=0)
    assert [any(p.requires_grad for p in stage.parameters()) for stage in stages] == [False, True, True]
    assert [stage.training for stage in stages] == [False, True, True]
    model.unfreeze_encoder()
    assert all(p.requires_grad for p in model.encoder.parameters())
    assert all(module.training for module in model.train().modules())


def test_freezing_in_part_changes_neither_modes_nor_statistics_beside_it() -> None:
    model = tiny()
    model.decoder.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.freeze_encoder(until=0)
    assert model.head.training
    assert not model.decoder.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("until", [3, -1, True, "stage1"])
def test_a_level_that_the_encoder_does_not_have_cannot_be_frozen(until: object) -> None:
    model = tiny()
    with pytest.raises(ConfigError, match="expected a level of the encoder, from 0, the finest, to 2"):
        model.freeze_encoder(until=until)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_reset_head_changes_the_classes_and_nothing_else() -> None:
    model = tiny(num_classes=2).to(torch.float64).eval()
    body = encoder_state(model)
    model.reset_head(7)
    assert model(torch.randn(1, 3, 16, 16, dtype=torch.float64)).shape == (1, 7, 16, 16)
    assert model.num_classes == model.config.num_classes == 7
    assert not model.head.training
    assert all(torch.equal(body[key], value) for key, value in encoder_state(model).items())
    with pytest.raises(ConfigError, match="num_classes is 0"):
        model.reset_head(0)
    assert model.num_classes == 7


def test_param_groups_hold_every_parameter_once_at_its_parts_rate() -> None:
    model = tiny(center="dilated")
    groups = model.param_groups(0.1, encoder=0.1, head=10, weight_decay=0.01)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    rates = {group["name"].split()[0]: group["lr"] for group in groups}
    assert rates == pytest.approx({"encoder": 0.01, "center": 0.1, "decoder": 0.1, "head": 1.0})
    for group in groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] == 0.01) for parameter in group["params"])
    torch.optim.AdamW(groups)


@pytest.mark.parametrize("encoder", [{"channels": [4, 8, 16]}, "timm/test_resnet"])
def test_layer_decay_lowers_the_rates_towards_the_stem(encoder: str | dict[str, object]) -> None:
    model = unetzoo.create("unet", encoder=encoder)
    groups = model.param_groups(1.0, encoder=0.5, layer_decay=0.1)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert {rates[id(parameter)] for parameter in model.decoder.parameters()} == {1.0}
    found = [rates[id(parameter)] for parameter in model.encoder.parameters()]
    assert found == sorted(found), "both encoders list their parameters from the stem to the last stage"
    assert found[-1] == pytest.approx(0.05)
    assert len(set(found)) >= 3


@pytest.mark.parametrize("layer_decay", [0, -1, 1.5])
def test_a_layer_decay_that_is_no_factor_is_refused(layer_decay: float) -> None:
    with pytest.raises(ConfigError, match="layer_decay"):
        tiny().param_groups(1.0, layer_decay=layer_decay)


@pytest.mark.parametrize(
    "overrides", [{"block": {"dropout": 0.3}}, {"encoder": "timm/resnet18"}, {"decoder": "linknet"}]
)
def test_gradient_checkpointing_keeps_every_gradient_and_saves_activations(overrides: dict[str, object]) -> None:
    model = tiny(**overrides).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    check_checkpointing(model, x, 0.7)


def test_deep_supervision_gives_a_list_in_training_and_a_tensor_in_evaluation() -> None:
    model = tiny(deep_supervision=True, num_classes=2)
    x = torch.randn(2, 3, 21, 18)
    outputs = model(x)
    assert [tuple(output.shape) for output in outputs] == [(2, 2, 21, 18)] * 2
    model.eval()
    assert torch.equal(model(x), model.head(model.decoder(model.encoder(x)), (21, 18)))


def test_a_head_that_offers_no_deep_supervision_says_so() -> None:
    with pytest.raises(ConfigError, match=r"head\.deep_supervision: unknown option of LinkNetHead"):
        unetzoo.create("linknet34", deep_supervision=True)


def test_a_sample_does_not_depend_on_its_batch_in_evaluation() -> None:
    model = tiny().double().eval()
    x = torch.randn(3, 3, 16, 20, dtype=torch.float64)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["unet", "dlinknet34"])
def test_the_model_compiles_to_one_graph(name: str) -> None:
    model = (tiny() if name == "unet" else unetzoo.create(name, encoder="timm/resnet18")).eval()
    x = torch.randn(1, 3, 37, 50)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("name", ["unet", "unet_bilinear"])
def test_an_exported_program_takes_other_sizes_and_has_no_input_check(name: str) -> None:
    overrides = {} if name == "unet" else {"decoder": {"decoder_channels": [8, 4]}}
    model = unetzoo.create(name, **TINY, **overrides).eval()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(model, (torch.randn(2, 3, 32, 40),), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    x = torch.randn(1, 3, 37, 50)
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_onnx_program_gives_the_same_logits() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
    model = tiny().eval()
    x = torch.randn(1, 3, 37, 50)
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(x), rtol=1e-4, atol=1e-4)


def test_a_trace_gives_the_same_logits() -> None:
    model = tiny().eval()
    x = torch.randn(1, 3, 17, 18)
    torch.testing.assert_close(torch.jit.trace(model, x, check_trace=False)(x), model(x))


def test_a_model_without_an_encoder_says_so() -> None:
    model = DenseModel(in_channels=3, num_classes=1, ndim=2)
    with pytest.raises(ConfigError, match="DenseModel has no encoder"):
        model.freeze_encoder()
    with pytest.raises(ConfigError, match="has no head that can be replaced"):
        model.reset_head(2)


def test_weight_decay_is_the_optimizers_own_unless_given_and_spares_biases() -> None:
    groups = tiny().param_groups(0.1)
    assert all(group.get("weight_decay") == (0.0 if "without decay" in group["name"] else None) for group in groups)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decays[p] for p in decays if p.ndim > 1} == {0.05}
    assert {decays[p] for p in decays if p.ndim == 1} == {0.0}


@pytest.mark.parametrize(
    ("name", "encoder", "spared"),
    [
        ("transunet", None, {"encoder.position"}),
        ("unet", "timm/test_vit", {"encoder.model.model.pos_embed", "encoder.model.model.cls_token"}),
        (
            "unet",
            "timm/swin_tiny_patch4_window7_224",
            {f"encoder.model.layers_0.blocks.{n}.attn.relative_position_bias_table" for n in (0, 1)},
        ),
    ],
)
def test_embeddings_of_positions_and_bias_tables_are_not_decayed(name: str, encoder: str, spared: set[str]) -> None:
    model = unetzoo.create(name, encoder=encoder)
    names = {parameter: key for key, parameter in model.named_parameters()}
    groups = model.param_groups(0.1, weight_decay=0.05)
    kept = {names[p] for group in groups if group["weight_decay"] == 0 for p in group["params"] if p.ndim > 1}
    assert spared <= kept
    assert not any(key.endswith(("qkv.weight", "fc1.weight")) for key in kept)
