"""A bare name and a mapping are the same thing, from the first line on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import unetzoo
from unetzoo.components.spec import plain

TWO_LEVELS = {"encoder": {"channels": [4, 8]}}


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def test_no_normalization_by_a_mapping_over_a_name_gives_convolutions_a_bias() -> None:
    model = unetzoo.create("unet", encoder={"channels": [4, 8], "block": {"norm": "none"}})
    assert all(conv.bias is not None for conv in convolutions(model.encoder))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.encoder.modules())
    same = unetzoo.create("unet", encoder={"channels": [4, 8], "block": {"norm": {"name": "none"}}})
    assert repr(same.encoder) == repr(model.encoder)


@pytest.mark.parametrize("upsample", ["block", {"name": "block"}])
def test_a_block_that_upsamples_may_be_named_over_a_mapping(upsample: object) -> None:
    base = {"extends": "unet", "block": "mednext", "decoder": {"upsample": {"name": "linear", "align_corners": True}}}
    model = unetzoo.create(base, decoder={"upsample": upsample}, **TWO_LEVELS)
    assert type(model.decoder.stages[0].up).__name__ == "MedNeXt"
    assert model(torch.ones(1, 3, 8, 8)).shape == (1, 1, 8, 8)


def test_numbers_of_numpy_are_numbers() -> None:
    model = unetzoo.create(
        "unet", num_classes=np.int64(3), in_channels=np.int32(2), encoder={"channels": list(np.array([4, 8]))}
    )
    assert (model.num_classes, model.in_channels, model.encoder.channels) == (3, 2, [4, 8])
    model.reset_head(np.int64(5))
    assert model(torch.ones(1, 2, 8, 8)).shape[1] == 5
    model.freeze_encoder(until=np.int64(0))


def test_plain_data_keeps_its_kind() -> None:
    assert plain({"a": (np.float32(0.5), [np.bool_(True)]), "b": "x"}) == {"a": (0.5, [True]), "b": "x"}


def test_an_option_that_the_name_has_set_is_refused() -> None:
    with pytest.raises(unetzoo.ConfigError, match=r"encoder\.backbone: set by the model itself"):
        unetzoo.create("unet", encoder={"name": "timm/resnet18", "backbone": "resnet34"})
