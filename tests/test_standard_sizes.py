"""Standard sizes of networks beyond the golden rows, with the parameter counts of their authors' code."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unetzoo

LARGE_KERNEL = {"block": {"kernel_size": 5}}
SIX = {"encoder": {"channels": [32, 64, 128, 256, 320, 320]}}
SEVEN = {"encoder": {"channels": [32, 64, 128, 256, 512, 512, 512]}}
EIGHT = {"encoder": {"channels": [32, 64, 128, 256, 512, 512, 512, 512]}}


@pytest.mark.parametrize(
    ("name", "options", "params"),
    [
        ("mednext_s", LARGE_KERNEL, 5_980_547),
        ("mednext_b", LARGE_KERNEL, 10_955_939),
        ("mednext_m", LARGE_KERNEL, 18_260_835),
        ("mednext_l", LARGE_KERNEL, 62_992_899),
        ("mednext_s", {"deep_supervision": True}, 5_552_843),
        ("mednext_b", {"deep_supervision": True}, 10_528_235),
        ("mednext_m", {"deep_supervision": True}, 17_550_891),
        ("mednext_l", {"deep_supervision": True}, 61_781_195),
        ("nnunet_plain", {"ndim": 3, **SIX}, 31_195_594),
        ("nnunet_plain", {"ndim": 2, **SEVEN}, 33_471_820),
        ("nnunet_plain", {"ndim": 2, **EIGHT}, 46_324_558),
        ("nnunet_resenc", {"ndim": 3, "encoder": {**SIX["encoder"], "depths": [1, 3, 4, 6, 6, 6]}}, 102_349_770),
        ("nnunet_resenc", {"ndim": 2, "encoder": {**EIGHT["encoder"], "depths": [1, 3, 4] + [6] * 5}}, 140_017_038),
    ],
)
def test_a_standard_size_has_its_references_parameters(name: str, options: dict[str, Any], params: int) -> None:
    with torch.device("meta"):
        model = unetzoo.create(name, in_channels=1, num_classes=2, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == params
