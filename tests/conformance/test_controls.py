"""Sound networks of any style raise no alarm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from tests.conformance.controls import CONTROLS, plain
from unetzoo.conformance import Report, all_checks, check_model

SPATIAL = [check.id for check in all_checks() if check.subject in ("spatial", "alignment") and check.cost == "slow"]


def expect_clean(report: Report) -> None:
    found = report.failures + report.advice
    assert not found, "\n".join(f"{r.check}: {r.note}" for r in found)


@pytest.mark.parametrize("build", CONTROLS, ids=lambda build: build.__name__)
def test_a_sound_network_passes_the_fast_suite(build: Callable[..., nn.Module]) -> None:
    fast = [check.id for check in all_checks() if check.cost == "fast"]
    report = check_model(build, checks=[*fast, *SPATIAL])
    expect_clean(report)


@pytest.mark.slow
@pytest.mark.parametrize("build", CONTROLS, ids=lambda build: build.__name__)
def test_a_sound_network_passes_the_full_suite(build: Callable[..., nn.Module]) -> None:
    report = check_model(build)
    expect_clean(report)


def test_the_order_of_checks_does_not_matter() -> None:
    fast = [check.id for check in all_checks() if check.cost == "fast"]
    alone = {check_id: check_model(plain, checks=[check_id])[check_id].status for check_id in fast[::8]}
    together = check_model(plain, checks=fast)
    assert alone == {check_id: together[check_id].status for check_id in alone}
