"""Activation checkpointing of modules that need not be stages."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.nn.checkpointing import checkpointing


def test_an_own_forward_of_an_instance_is_there_again_afterwards() -> None:
    layer = nn.Linear(2, 2)
    layer.forward = lambda x: 3 * x
    with checkpointing([layer]):
        assert torch.equal(layer(torch.ones(1, 2)), torch.full((1, 2), 3.0))
    assert torch.equal(layer(torch.ones(1, 2)), torch.full((1, 2), 3.0))


def test_a_module_that_is_listed_twice_is_checkpointed_once() -> None:
    layer = nn.Linear(2, 2)
    x = torch.ones(1, 2, requires_grad=True)
    with checkpointing([layer, layer]):
        layer(x).sum().backward()
    assert torch.equal(x.grad, layer.weight.sum(0)[None])
    assert "forward" not in layer.__dict__
