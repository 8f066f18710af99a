"""Which refusals of torch's deterministic mode are held against a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.contexts import context
from tests.conformance.controls import plain
from unetzoo.capabilities import Capabilities
from unetzoo.conformance.checks.cuda import _excused
from unetzoo.conformance.definition.outcomes import NotApplicable

# As torch 2.11 says it.
REFUSAL = "{} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'."


@pytest.mark.parametrize(
    "operation",
    ["max_pool3d_with_indices_backward_cuda", "avg_pool3d_backward_cuda", "upsample_trilinear3d_backward_out_cuda"],
)
def test_a_volume_is_excused_for_what_torch_has_no_other_kernel_for(operation: str, tmp_path: Path) -> None:
    with (
        pytest.raises(NotApplicable, match="3d, and deterministic_cuda is not declared"),
        _excused(context(plain, tmp_path)),
    ):
        raise RuntimeError(REFUSAL.format(operation))


@pytest.mark.parametrize(
    ("operation", "capabilities"),
    [
        ("max_pool3d_with_indices_backward_cuda", {"deterministic_cuda": True}),
        ("adaptive_avg_pool2d_backward_cuda", {}),
    ],
)
def test_neither_is_one_that_declares_it_nor_one_that_has_a_choice(
    operation: str, capabilities: dict[str, object], tmp_path: Path
) -> None:
    with (
        pytest.raises(RuntimeError, match=operation),
        _excused(context(plain, tmp_path, Capabilities().declare(capabilities))),
    ):
        raise RuntimeError(REFUSAL.format(operation))
