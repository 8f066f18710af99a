"""One optimizer over parts and layers with rates of their own."""

from __future__ import annotations

import pytest

import unetzoo
from unetzoo.training.optimizers import AdamW, Rates, make_optimizer


def test_rates_multiply_those_of_part_and_layer() -> None:
    model = unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 8, 16]})
    optimizer = make_optimizer(AdamW(lr=0.1), Rates(encoder=0.5, head=2, layer_decay=0.5), model)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    by_name = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    for name, rate in by_name.items():
        part, *inner = name.split(".")
        if part == "encoder":
            # The finest of three levels is three layers from the encoder's end.
            assert rate == pytest.approx(0.1 * 0.5 * 0.5 ** (3 - int(inner[1]))), name
        else:
            assert rate == pytest.approx({"decoder": 0.1, "head": 0.2}[part]), name
