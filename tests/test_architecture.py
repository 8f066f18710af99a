"""Imports point one way: no circles, and lower layers know nothing of higher ones."""

from __future__ import annotations

import re

from tests.architecture import ROOT, find_cycle, folder_graph, mermaid, module_graph, reduced


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert find_cycle(module_graph()) == []


def test_no_folder_imports_itself_by_way_of_others() -> None:
    assert find_cycle(folder_graph(module_graph())) == []


def test_no_module_imports_the_facade() -> None:
    importers = {name for name, imported in module_graph().items() if "unetzoo" in imported}
    assert importers == set()


def test_a_circle_is_found_and_named() -> None:
    assert set(find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_the_picture_in_contributing_is_of_the_imports_as_they_are() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)\n```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert picture == mermaid(reduced(folder_graph(module_graph())))
