"""The imports inside the package, read from its source: type-only and function-level ones count like any other.

    python -m tests.architecture

prints them by folder as the Mermaid graph of CONTRIBUTING.md, arrows that follow from others left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unetzoo"
Graph = dict[str, set[str]]


def module_graph() -> Graph:
    """Every module and the modules of the package that it imports; the facade `unetzoo` itself is left out."""
    modules = {_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "$" not in str(path)}
    graph = {name: set(_imported(path, modules)) - {name} for name, path in modules.items()}
    del graph["unetzoo"]
    return graph


def folder_graph(graph: Mapping[str, set[str]]) -> Graph:
    """The same by top-level folder or module of the package."""
    folders: Graph = {}
    for name, imported in graph.items():
        folder = _folder(name)
        folders.setdefault(folder, set()).update(
            {_folder(other) for other in imported if other != "unetzoo"} - {folder}
        )
    return folders


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names along one circle of imports, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def reduced(graph: Mapping[str, set[str]]) -> Graph:
    """The graph without the arrows that follow from two or more others."""
    reach: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        reach[name] = set().union(*({other} | reach[other] for other in graph.get(name, ())))
    return {
        name: {one for one in others if not any(one in reach[other] for other in others)}
        for name, others in graph.items()
    }


def mermaid(graph: Mapping[str, set[str]]) -> str:
    """The graph in Mermaid's notation, from the top layer down."""
    arrows = [f"    {name} --> {other}" for name in sorted(graph) for other in sorted(graph[name])]
    return "\n".join(["graph TD", *arrows])


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _folder(name: str) -> str:
    return name.split(".")[1]


def _imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


if __name__ == "__main__":
    print(mermaid(reduced(folder_graph(module_graph()))))
