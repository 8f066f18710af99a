"""Every network of the zoo trains and evaluates at odd, rectangular sizes, in every dimension that it declares."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unetzoo
from unetzoo.nn.dims import per_axis

NAMES = unetzoo.list_models()
DIMENSIONS = [(name, ndim) for name in NAMES for ndim in unetzoo.info(name).ndim]
UNDECLARED = [(name, ndim) for name in NAMES for ndim in (2, 3) if (name, ndim) not in DIMENSIONS]
IN_CHANNELS, NUM_CLASSES = 2, 3


def build(name: str, ndim: int, **options: Any) -> unetzoo.DenseModel:
    torch.manual_seed(0)
    return unetzoo.create(name, tiny=True, num_classes=NUM_CLASSES, in_channels=IN_CHANNELS, ndim=ndim, **options)


def odd_size(model: unetzoo.DenseModel) -> tuple[int, ...]:
    least = per_axis(model.min_size, model.ndim)
    return tuple(low + more + (low + more + 1) % 2 for low, more in zip(least, (1, 5, 3), strict=False))


def expected_size(model: unetzoo.DenseModel, size: tuple[int, ...]) -> tuple[int, ...]:
    rule = model.capabilities
    legal = zip(size, rule.margin, rule.divisor, rule.size_offset, strict=True)
    return tuple(length - (length - offset) % divisor - margin for length, margin, divisor, offset in legal)


@pytest.mark.parametrize(("name", "ndim"), DIMENSIONS)
def test_a_network_trains_at_an_odd_size_and_every_parameter_gets_a_gradient(name: str, ndim: int) -> None:
    model = build(name, ndim, deep_supervision=False).train()
    size = odd_size(model)
    logits = model(torch.randn(2, IN_CHANNELS, *size))
    assert logits.shape == (2, model.num_classes, *expected_size(model, size))
    logits.square().mean().backward()
    frozen = model.capabilities.frozen
    for key, parameter in model.named_parameters():
        if key in frozen:
            assert not parameter.requires_grad, f"{key} is trained"
        else:
            assert parameter.grad is not None, f"{key} has no gradient"
            assert parameter.grad.isfinite().all(), f"the gradient of {key} is not finite"


@pytest.mark.parametrize(("name", "ndim"), UNDECLARED)
def test_a_dimension_that_is_not_declared_is_refused(name: str, ndim: int) -> None:
    with pytest.raises(unetzoo.ConfigError, match=f"cannot be created with ndim={ndim}|has 3 numbers; expected"):
        unetzoo.create(name, ndim=ndim)


@pytest.mark.parametrize("name", [name for name in NAMES if unetzoo.info(name).capabilities.deep_supervision])
def test_deep_supervision_returns_all_logits_in_training_and_one_in_evaluation(name: str) -> None:
    model = build(name, unetzoo.info(name).ndim[0], deep_supervision=True).train()
    size = odd_size(model)
    x = torch.randn(2, IN_CHANNELS, *size)
    outputs = model(x)
    assert isinstance(outputs, list)
    assert len(outputs) > 1
    assert {output.shape for output in outputs} == {(2, model.num_classes, *size)}
    torch.stack(outputs).square().mean().backward()
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen <= set(unetzoo.info(name).capabilities.frozen)
    assert [key for key, p in model.named_parameters() if p.grad is None and key not in frozen] == []
    with torch.no_grad():
        assert model.eval()(x).shape == (2, model.num_classes, *size)
