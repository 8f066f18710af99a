"""What the cards declare, measured on networks that are built without weights."""

from __future__ import annotations

import pytest
import torch

import unetzoo
from unetzoo.nn.dims import per_axis
from unetzoo.summary import summarize

NAMES = unetzoo.list_models()


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_parameters_cost_and_smallest_size_as_they_are(name: str) -> None:
    card = unetzoo.info(name)
    setting = {key: getattr(card.sizes, key) for key in ("in_channels", "num_classes", "ndim")}
    measured = summarize(lambda: unetzoo.create(name, **setting), size=card.sizes.input)
    assert measured.params == card.sizes.params
    assert measured.flops == pytest.approx(card.sizes.flops, rel=0.01)
    with torch.device("meta"):
        model = unetzoo.create(name, **setting)
    stated = card.capabilities.of_ndim(model.ndim).min_size
    assert per_axis(model.min_size, model.ndim) == stated


@pytest.mark.parametrize("name", [name for name in NAMES if unetzoo.info(name).capabilities.deep_supervision])
def test_deep_supervision_gives_a_list_of_logits_finest_first(name: str) -> None:
    card = unetzoo.info(name)
    with torch.device("meta"):
        model = unetzoo.create(name, deep_supervision=True, in_channels=3, num_classes=3, ndim=card.ndim[0])
        size = (max(64, model.min_size if isinstance(model.min_size, int) else 0),) * card.ndim[0]
        outputs = model(torch.zeros(2, 3, *size))
    assert isinstance(outputs, list)
    assert len(outputs) > 1
    assert {tuple(output.shape) for output in outputs} == {(2, 3, *size)}


@pytest.mark.parametrize("name", [name for name in NAMES if not unetzoo.info(name).capabilities.deep_supervision])
def test_a_card_without_deep_supervision_means_that_it_is_refused(name: str) -> None:
    with pytest.raises(unetzoo.ConfigError, match="deep_supervision"), torch.device("meta"):
        unetzoo.create(name, deep_supervision=True)
