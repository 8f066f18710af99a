"""The pytest plugin: `pytest --unetzoo=NAME` makes every check of a network a test item.

Without that option it does nothing and imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from unetzoo.conformance.reports.results import Result
    from unetzoo.conformance.runner.session import Session


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group 'unetzoo'."""
    group = parser.getgroup("unetzoo", "conformance of segmentation networks")
    group.addoption(
        "--unetzoo",
        action="append",
        default=[],
        metavar="NAME[,NAME...]",
        help="run the conformance suite on these registered names, config files or module:builder, an item a check",
    )
    group.addoption("--unetzoo-device", metavar="DEVICE", help="device of the suite (default: that of the profile)")
    group.addoption("--unetzoo-profile", default="full", help="core, full or cuda (default: full)")
    group.addoption(
        "--unetzoo-expected-failures",
        type=Path,
        metavar="FILE.json",
        help='expected failures: {"NAME": {"check_id": "reason"}}; one that passes fails',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append the items, before -k and -m choose among them."""
    names = [name for option in config.getoption("--unetzoo") for name in option.split(",") if name]
    if names:
        items.extend(_items(session, config, names))


def _items(session: pytest.Session, config: pytest.Config, names: list[str]) -> Iterator[pytest.Item]:
    from unetzoo.conformance.runner.expected import read_expected_failures
    from unetzoo.conformance.runner.session import make_session
    from unetzoo.errors import ConfigError

    try:
        expected = read_expected_failures(config.getoption("--unetzoo-expected-failures"), names)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error
    for name in names:
        try:
            suite = make_session(
                name,
                device=config.getoption("--unetzoo-device"),
                expected_failures=expected.get(name),
                profile=config.getoption("--unetzoo-profile"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise pytest.UsageError(f"--unetzoo={name}: {error}") from error
        node = Network.from_parent(session, name=name, nodeid=f"unetzoo::{name}", path=session.path)
        node.run = Run(suite)
        for check_id in suite.checks:
            yield Conformance.from_parent(node, name=check_id)


class Run:
    """One network's session: probed once, with the checks that have failed so far."""

    def __init__(self, suite: Session) -> None:
        self.suite = suite

    def result(self, check_id: str) -> Result:
        """Run one check."""
        from unetzoo.conformance.checks import all_checks
        from unetzoo.conformance.runner.execution import run_check

        self.suite = self.suite.probed()
        check = next(c for c in all_checks() if c.id == check_id)
        result = run_check(self.suite, check)
        self.suite = self.suite.after(result)
        return result


class Network(pytest.Collector):
    """The parent of one network's items."""

    run: Run

    def collect(self) -> list[pytest.Item]:
        """Nothing: the items are made with the network."""
        return []


class Broken(Exception):
    """A check found a fault; its text is the whole report of the item."""


class Conformance(pytest.Item):
    """One check of one network."""

    def runtest(self) -> None:
        """Run the check and turn its status into pytest's."""
        assert isinstance(self.parent, Network)
        report_outcome(self.parent.run.result(self.name))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The message of the check, without a traceback through the suite."""
        if isinstance(excinfo.value, Broken):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where pytest says that the item is."""
        return self.path, None, self.nodeid


def report_outcome(result: Result) -> None:
    """Skip, fail or expect the failure of the running test, as the result says."""
    if result.status == "skipped":
        pytest.skip(result.reason)
    if result.status == "expected_failure":
        pytest.xfail(result.reason)
    if result.status == "advice":
        pytest.xfail(f"advice: {result.note}")
    if result.status != "passed":
        raise Broken(f"{result.summary}\n{result.note}")
