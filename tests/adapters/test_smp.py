"""segmentation_models_pytorch in both directions."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch

import unetzoo
from tests.activations import check_checkpointing
from unetzoo.adapters.smp import install
from unetzoo.adapters.smp.outward import SmpArchitecture

TWELVE = {
    "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet",
    "deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer", "dpt",
}  # fmt: skip


def test_all_twelve_architectures_are_listed() -> None:
    assert {f"smp/{name}" for name in TWELVE} <= set(unetzoo.list_models("smp/*"))


@pytest.mark.parametrize("name", sorted(TWELVE - {"dpt"}))
def test_an_odd_size_comes_back_at_its_size_and_what_learns_has_gradients(name: str) -> None:
    model = unetzoo.create(f"smp/{name}", num_classes=3, encoder="resnet18")
    # PAN's pyramid halves the coarsest features three times more.
    size = (131, 139) if name == "pan" else (67, 75)
    logits = model(torch.randn(2, 3, *size))
    assert logits.shape == (2, 3, *size)
    logits.square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_dpt_takes_a_transformer_at_an_odd_size() -> None:
    model = unetzoo.create("smp/dpt", num_classes=2, encoder="timm/test_vit").eval()
    assert model(torch.randn(1, 3, 67, 75)).shape == (1, 2, 67, 75)


@pytest.mark.parametrize("size", [(64, 96), (61, 75)])
def test_the_numbers_are_smps_own(size: tuple[int, int]) -> None:
    theirs = smp.Unet("tu-test_resnet", encoder_weights=None, classes=2).eval()
    ours = unetzoo.create("smp/unet", encoder="timm/test_resnet", num_classes=2).eval()
    assert unetzoo.load_checkpoint(ours, theirs.state_dict()).layout == "smp"
    x = torch.randn(1, 3, *size)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decoder_chanels": (8, 8)}, "decoder_channels"),
        ({"activation": "sigmoid"}, "activation"),
        ({"encoder": "resnet43"}, "resnet34"),
        ({"encoder": {"name": "resnet18", "drop": 0.1}}, "no options"),
    ],
)
def test_what_smp_would_swallow_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(unetzoo.ConfigError, match=told):
        unetzoo.create("smp/unet", **{"encoder": "resnet18", **options})


def test_a_frozen_encoder_is_deterministic_in_training_and_evaluation() -> None:
    model = unetzoo.create("smp/segformer", encoder="mit_b0")
    model.train()
    model.freeze_encoder()
    x = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(model.encoder(x)[1:], model.encoder(x)[1:], strict=True))
    model.eval()
    assert torch.equal(model(x), model(x))
    model.unfreeze_encoder()
    assert not any(module.training for module in model.encoder.modules())


def test_freezing_until_a_level_leaves_the_coarser_stages_to_learn() -> None:
    model = unetzoo.create("smp/unet", encoder="resnet18")
    model.freeze_encoder(until=1)
    learning = {key.split(".")[0] for key, p in model.encoder.named_parameters() if p.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}
    model.eval().train()
    assert not model.encoder.bn1.training
    assert not model.encoder.layer1.training
    assert model.encoder.layer2.training
    with pytest.raises(unetzoo.ConfigError, match="to 4"):
        model.freeze_encoder(until=5)


def test_layer_decay_goes_by_the_levels_of_smps_encoders() -> None:
    model = unetzoo.create("smp/unet", encoder="resnet18")
    rates = {id(p): group["lr"] for group in model.param_groups(1.0, layer_decay=0.5) for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    found = [rates[id(parameter)] for parameter in model.encoder.parameters()]
    assert found == sorted(found)
    assert set(found) == {0.5**level for level in range(1, 6)}


# densenet hands lists on, which must not be computed again; vgg has no blocks; hrnet is one that timm cannot.
@pytest.mark.parametrize("encoder", ["resnet18", "densenet121", "vgg11_bn", "timm/resnet18", "timm/hrnet_w18_small"])
def test_gradient_checkpointing_saves_activations_and_changes_no_gradient(encoder: str) -> None:
    torch.manual_seed(0)
    model = unetzoo.create("smp/unet", encoder=encoder).double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    check_checkpointing(model, x, 0.4)


def test_pretrained_asks_smp_for_the_weights_and_tells_their_preprocessing(monkeypatch, tmp_path) -> None:
    """smp's hub is played by a folder: weights of another seed, and the figures of InceptionV4's config."""
    torch.manual_seed(1)
    weights = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    settings = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.75], "input_range": [0, 1], "input_space": "RGB"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(smp.encoders, "hf_hub_download", lambda repo_id, filename, revision: str(tmp_path / filename))
    model = unetzoo.create("smp/unet", encoder="resnet18", pretrained=True)
    assert torch.equal(model.encoder.conv1.weight, weights["conv1.weight"])
    found = model.preprocessing
    assert (found.mean, found.std, found.input_range) == ((0.5,) * 3, (0.25, 0.5, 0.75), (0, 1))
    gray = unetzoo.create("smp/unet", encoder="resnet18", pretrained=True, in_channels=1)
    assert gray.preprocessing.std == (0.5,)


def test_unfreezing_leaves_what_the_architecture_does_not_use_alone() -> None:
    model = unetzoo.create("smp/pspnet", encoder="resnet18")
    model.freeze_encoder()
    model.unfreeze_encoder()
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_head_is_replaced_for_another_number_of_classes() -> None:
    model = unetzoo.create("smp/fpn", encoder="resnet18", num_classes=2)
    model.reset_head(7)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 7, 64, 64)


@pytest.mark.parametrize("encoder", ["timm/test_resnet", "resnet18"])
def test_a_saved_model_comes_back_and_nothing_is_downloaded(encoder: str, tmp_path, monkeypatch) -> None:
    model = unetzoo.create("smp/unet", encoder=encoder, num_classes=2).eval()
    unetzoo.save_pretrained(model, tmp_path)
    monkeypatch.delattr(smp.encoders, "hf_hub_download")
    monkeypatch.setattr(timm.models._builder, "load_pretrained", None)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(unetzoo.from_pretrained(tmp_path)(x), model(x))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install, and take everything back afterwards."""
    monkeypatch.setattr(smp, "MODEL_ARCHITECTURES_MAPPING", dict(smp.MODEL_ARCHITECTURES_MAPPING))
    monkeypatch.setattr(smp.encoders, "encoders", dict(smp.encoders.encoders))
    install()


@pytest.mark.usefixtures("installed")
def test_our_architectures_are_created_by_smp_and_learn_under_its_loss_and_metrics() -> None:
    torch.manual_seed(0)
    model = smp.create_model("dlinknet", "resnet18", encoder_weights=None, classes=3)
    x, target = torch.randn(2, 3, 64, 64), torch.randint(3, (2, 64, 64))
    loss = smp.losses.DiceLoss("multiclass")
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(5):
        value = loss(model(x), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    counts = smp.metrics.get_stats(model(x).argmax(1), target, mode="multiclass", num_classes=3)
    assert 0 < smp.metrics.iou_score(*counts, reduction="micro") <= 1


@pytest.mark.usefixtures("installed")
def test_the_architecture_that_smps_readme_would_be_asked_for() -> None:
    model = smp.create_model("dlinknet", "resnet34", encoder_weights=None, classes=22)
    assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 22, 64, 64)
    assert type(model).__mro__[1] is SmpArchitecture


@pytest.mark.usefixtures("installed")
def test_our_architecture_in_smp_freezes_takes_odd_sizes_and_is_saved_and_loaded(tmp_path) -> None:
    model = smp.create_model("dlinknet34", "resnet18", encoder_weights=None, classes=2)
    model.freeze_encoder()
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    model.eval()
    x = torch.randn(1, 3, 67, 75)
    model.save_pretrained(tmp_path)
    again = smp.from_pretrained(tmp_path).eval()
    assert model(x).shape == (1, 2, 67, 75)
    assert torch.equal(again(x), model(x))


@pytest.mark.usefixtures("installed")
def test_our_encoders_are_encoders_of_smp() -> None:
    model = smp.Unet(
        "unetzoo-conv", encoder_weights=None, in_channels=1, classes=2, encoder_depth=4, decoder_channels=(16, 8, 8, 4)
    )
    assert model.eval()(torch.randn(1, 1, 64, 64)).shape == (1, 2, 64, 64)


@pytest.mark.usefixtures("installed")
def test_installing_twice_adds_nothing_and_keeps_smps_own_names() -> None:
    assert install() == []
    assert smp.MODEL_ARCHITECTURES_MAPPING["unet"] is smp.Unet
