"""The checks that only a capability or an interface switches on pass a sound network that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from torch import nn

from tests.conformance.planted.copying import Saved
from tests.conformance.planted.optional import Freezable, Resettable, _WithEncoder
from tests.conformance.planted.training import Checkpointed
from unetzoo.conformance import check_model


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
    ],
)
def test_a_sound_network_passes_the_check_of_what_it_claims(
    check: str, build: Callable[..., nn.Module], capabilities: Mapping[str, object]
) -> None:
    result = check_model(build, checks=[check], capabilities=capabilities)[check]
    assert result.status == "passed", f"{result.status}: {result.note}"
