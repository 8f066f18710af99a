"""Every named model passes the suite: narrowed, so that a CPU is enough, and otherwise as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

import unetzoo
from unetzoo.config import resolve
from unetzoo.conformance import check_model
from unetzoo.errors import UnetzooError

WIDTHS = re.compile("channels|width|widths|mid|filters|features|hidden|growth")
SPREAD = ["unet", "unet_valid", "linknet34", "attention_unet", "u2netp", "segnet", "resunet", "unetpp", "vnet"]
TARGETS = [(name, ndim) for name in unetzoo.list_models() for ndim in unetzoo.info(name).ndim]


def narrowed(value: object, key: str = "") -> object:
    """A config with every width divided by eight, and eight at least; ResNets become ten layers deep."""
    if isinstance(value, Mapping):
        return {k: v if k in ("card", "layouts") else narrowed(v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [narrowed(item, key) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and WIDTHS.search(key) and value > 8:
        return max(8, value // 64 * 8)
    if isinstance(value, str) and re.fullmatch(r"timm/resnet\d+", value):
        return "timm/resnet10t"
    return value


def small(name: str) -> dict[str, object]:
    """The narrowed config, or the model's own where the narrowed one cannot be built."""
    config = narrowed(resolve(name).data)
    assert isinstance(config, dict)
    card = {key: value for key, value in config["card"].items() if key not in ("name", "source", "sizes")}
    config = {**config, "card": card}
    try:
        unetzoo.create(config)
    except UnetzooError:
        return dict(resolve(name).data)
    return config


def check_small(name: str, ndim: int, *, fast: bool) -> None:
    card = unetzoo.info(name)
    claims: dict[str, object] = dict(card.claims)
    if card.min_size is not None:
        claims["min_size"] = card.min_size
    report = check_model(
        small(name),
        ndim=ndim,
        capabilities=claims,
        fast=fast,
        exclude=["check_metadata"],
    )
    assert report.ok, "\n".join(f"{r.check}: {r.note}" for r in report.failures)


@pytest.mark.parametrize("name", [name for name in SPREAD if name in unetzoo.list_models()])
def test_a_spread_of_models_passes_the_fast_suite(name: str) -> None:
    check_small(name, min(unetzoo.info(name).ndim), fast=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ndim"), TARGETS)
def test_every_model_passes_the_fast_suite(name: str, ndim: int) -> None:
    check_small(name, ndim, fast=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPREAD)
def test_a_spread_of_models_passes_the_full_suite(name: str) -> None:
    check_small(name, min(unetzoo.info(name).ndim), fast=False)
