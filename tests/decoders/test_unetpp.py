"""The nested decoder of U-Net++: which nodes depend on which levels, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import unetzoo
from unetzoo.errors import ConfigError

SMALL = {"encoder": {"channels": [4, 6, 8, 10]}}


def test_the_node_of_each_depth_depends_on_the_levels_down_to_it_and_the_deepest_comes_first():
    torch.manual_seed(0)
    model = unetzoo.create("unetpp", **SMALL).eval()
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 3, 17, 21))
    levels = [feature.requires_grad_() for feature in features]
    reached = []
    for node in model.decoder(levels):
        assert node.shape == (1, 4, 17, 21)
        gradients = torch.autograd.grad(node.square().sum(), levels, allow_unused=True, retain_graph=True)
        reached.append(sum(gradient is not None and bool(gradient.any()) for gradient in gradients))
    assert reached == [4, 3, 2]


def test_there_is_a_node_for_every_level_and_depth():
    model = unetzoo.create("unetpp", **SMALL)
    assert [len(column) for column in model.decoder.columns] == [3, 2, 1]


def test_deep_supervision_of_the_nodes_works_in_3d():
    model = unetzoo.create("unetpp", ndim=3, deep_supervision=True, **SMALL)
    assert [logits.shape for logits in model(torch.randn(2, 3, 9, 8, 11))] == [(2, 1, 9, 8, 11)] * 3


@pytest.mark.parametrize("skip", ["add", "none", {"name": "none"}])
def test_a_merge_that_would_leave_nodes_unused_is_refused(skip):
    with pytest.raises(ConfigError, match="cannot join the several nodes of a level"):
        unetzoo.create("unetpp", decoder={"skip": skip}, **SMALL)


def test_an_encoder_of_one_level_is_refused():
    with pytest.raises(ConfigError, match="at least two levels"):
        unetzoo.create("unetpp", encoder={"channels": [4]})
