"""Every planted defect is caught by its check, for the planted reason."""

from __future__ import annotations

import re

import pytest
import torch

from tests.conformance.planting import PLANTED, Planted, all_planted
from unetzoo.conformance import all_checks, check_model

REQUIRED = {check.id: check.requires for check in all_checks()}


@pytest.mark.parametrize("defect", all_planted(), ids=lambda defect: defect.id)
def test_a_planted_defect_is_caught_for_the_planted_reason(defect: Planted) -> None:
    if defect.device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    checks = [defect.check_id, *REQUIRED[defect.check_id]]
    report = check_model(defect.build, device=defect.device, checks=checks, capabilities=defect.capabilities)
    result = report[defect.check_id]
    if torch.__version__ < "2.7" and result.note.startswith("unavailable"):
        pytest.skip(result.note)
    assert result.status in ("failed", "advice"), f"{result.status}: {result.note}"
    assert re.search(defect.because, result.message, re.DOTALL), result.message


def test_every_check_has_a_planted_defect() -> None:
    all_planted()
    assert {check.id for check in all_checks()} == {defect.check_id for defect in PLANTED}
