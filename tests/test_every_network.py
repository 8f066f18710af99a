"""Every network of the zoo trains and evaluates at odd, rectangular sizes, in every dimension that its card names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

import unetzoo
from unetzoo.config.resolving import resolve
from unetzoo.nn.dims import per_axis

NAMES = unetzoo.list_models()
DIMENSIONS = [(name, ndim) for name in NAMES for ndim in unetzoo.info(name).ndim]
# The smallest volumes that these take are large; tests/decoders has the same parts in 3-D with fewer levels.
LARGE = [(name, 3) for name in NAMES if unetzoo.info(name).unpadded] + [("unet_seven_level", 3)]
IN_CHANNELS, NUM_CLASSES = 2, 3
# The wide ends of these encoders make for slow centers.
NARROWER = {name: {"encoder": {"name": "timm/resnet18"}} for name in ("dlinknet50", "dlinknet101")}


def narrowed(part: Mapping[str, Any]) -> dict[str, Any]:
    """A quarter of every width that a part lists, and of those of the blocks in it."""
    changes: dict[str, Any] = {}
    for key, value in part.items():
        if key.endswith("channels") and isinstance(value, int | list):
            changes[key] = value // 4 if isinstance(value, int) else [max(width // 4, 4) for width in value]
        elif isinstance(value, Mapping) and (inner := narrowed(value)):
            changes[key] = {**value, **inner}
    return changes


def build(name: str, ndim: int, **options: Any) -> unetzoo.DenseModel:
    data = resolve(name).for_ndim(ndim).data
    parts = {key: narrowed(data[key]) for key in ("encoder", "center", "decoder", "head") if key in data}
    parts = {key: changes for key, changes in parts.items() if changes} | NARROWER.get(name, {})
    torch.manual_seed(0)
    return unetzoo.create(name, num_classes=NUM_CLASSES, in_channels=IN_CHANNELS, ndim=ndim, **parts, **options)


def odd_size(model: unetzoo.DenseModel) -> tuple[int, ...]:
    least = per_axis(model.min_size, model.ndim)
    return tuple(low + more + (low + more + 1) % 2 for low, more in zip(least, (1, 5, 3), strict=False))


def expected_size(model: unetzoo.DenseModel, size: tuple[int, ...]) -> tuple[int, ...]:
    rule = model.card.unpadded
    if rule is None:
        return size
    return tuple(length - (length - rule.offset) % rule.divisor - rule.margin for length in size)


@pytest.mark.parametrize(("name", "ndim"), [case for case in DIMENSIONS if case not in LARGE])
def test_a_network_trains_at_an_odd_size_and_every_parameter_gets_a_gradient(name: str, ndim: int) -> None:
    model = build(name, ndim, deep_supervision=False).train()
    size = odd_size(model)
    logits = model(torch.randn(2, IN_CHANNELS, *size))
    assert logits.shape == (2, model.num_classes, *expected_size(model, size))
    logits.square().mean().backward()
    frozen = unetzoo.info(name).capabilities.get("frozen", ())
    for key, parameter in model.named_parameters():
        if key in frozen:
            assert not parameter.requires_grad, f"{key} is trained"
        else:
            assert parameter.grad is not None, f"{key} has no gradient"
            assert parameter.grad.isfinite().all(), f"the gradient of {key} is not finite"


@pytest.mark.parametrize("name", [name for name in NAMES if unetzoo.info(name).deep_supervision])
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
    assert frozen <= set(unetzoo.info(name).capabilities.get("frozen", ()))
    assert [key for key, p in model.named_parameters() if p.grad is None and key not in frozen] == []
    with torch.no_grad():
        assert model.eval()(x).shape == (2, model.num_classes, *size)
