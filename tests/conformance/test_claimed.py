"""The checks that only a capability or an interface switches on pass a sound network that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn

from conformance.networks import SmallUNet
from conformance.planted.copying import Saved
from conformance.planted.optional import Freezable, Resettable, _WithEncoder
from conformance.planted.training import Checkpointed
from unetzoo.conformance import check_model
from unetzoo.conformance.checks.serialization import fingerprint


def two_features(in_channels: int, num_classes: int) -> nn.Module:
    return _WithEncoder(in_channels, num_classes, (4, 8), (1, 2))


@pytest.mark.parametrize(
    ("check", "build", "capabilities"),
    [
        ("check_grad_checkpointing", Checkpointed, {}),
        ("check_reset_classifier", Resettable, {}),
        ("check_freeze_encoder", Freezable, {}),
        ("check_save_pretrained", Saved, {}),
        ("check_features", two_features, {}),
        ("check_vmap_jvp", SmallUNet, {"supports": ["functorch"]}),
        ("check_memory_format_kept", SmallUNet, {"keeps_channels_last": True}),
        pytest.param("check_aoti", SmallUNet, {"supports": ["aoti"]}, marks=pytest.mark.slow),
    ],
)
def test_a_sound_network_passes_the_check_of_what_it_claims(
    check: str, build: Callable[..., nn.Module], capabilities: Mapping[str, object]
) -> None:
    result = check_model(build, checks=[check], capabilities=capabilities)[check]
    assert result.status == "passed", f"{result.status}: {result.note}"


def test_a_network_passes_the_check_of_its_own_fingerprint() -> None:
    first = check_model(SmallUNet, checks=["check_fingerprint"], capabilities={"fingerprint": "0 0 0"})[
        "check_fingerprint"
    ]
    assert first.status == "failed"
    now = first.message.partition("now '")[2].partition("'")[0]
    again = check_model(SmallUNet, checks=["check_fingerprint"], capabilities={"fingerprint": now})["check_fingerprint"]
    assert again.status == "passed", again.message


def test_a_fingerprint_tells_weights_and_layouts_apart() -> None:
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    networks = []
    for seed, classes in ((0, 2), (1, 2), (0, 3)):
        torch.manual_seed(seed)
        networks.append(SmallUNet(3, classes).double())
    first, reseeded, wider = (fingerprint(network, x).split() for network in networks)
    assert first == fingerprint(networks[0], x).split()
    assert first[0] == reseeded[0] != wider[0]
    assert first[1:] != reseeded[1:]
