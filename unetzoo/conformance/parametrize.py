"""`parametrize_with_checks`: the suite inside a package's own tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unetzoo.conformance.pytest_plugin import Run, report_outcome
from unetzoo.conformance.runner.session import make_session
from unetzoo.conformance.runner.subject import ModelLike

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Case:
    """One check of one network; call it in the test."""

    run: Run
    check_id: str

    def __call__(self) -> None:
        """Run the check: skips, fails or expects the failure of the running test."""
        report_outcome(self.run.result(self.check_id))


def parametrize_with_checks(
    models: Sequence[ModelLike],
    *,
    expected_failures: Mapping[str, str] | None = None,
    **options: object,
) -> Callable[[Callable[..., None]], pytest.MarkDecorator]:
    """Decorate a test of one argument, `check`, to run for every check of every network::

        @unetzoo.conformance.parametrize_with_checks([MyNet, "unet"])
        def test_conformance(check):
            check()

    Args:
        models: names, configs or builders, as of `check_model`.
        expected_failures: reason by check id, for every network; strict: one that passes fails.
        options: further options of `check_model`: `profile`, `device`, `ndim`, `size`, `capabilities` ...
    """
    import pytest

    cases = []
    for model in models:
        suite = make_session(model, expected_failures=expected_failures, **options)  # type: ignore[arg-type]
        run = Run(suite)
        cases += [pytest.param(Case(run, check_id), id=f"{suite.subject.name}-{check_id}") for check_id in suite.checks]
    return pytest.mark.parametrize("check", cases)
