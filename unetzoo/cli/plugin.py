"""`unetzoo new-plugin`: the skeleton of a third-party package."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from unetzoo.cli.output import Json, print_json
from unetzoo.errors import ConfigError


def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as unetzoo-ghost.")],
    out: Annotated[Path, typer.Option(help="Folder that the package's folder is made in.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a package with a block, a model, conformance tests and a workflow, ready for `pip install -e`."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(f"{name!r}: expected a distribution name in lower case, such as unetzoo-ghost")
    folder = out / name
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another name or folder")
    package = name.replace("-", "_")
    words = {"name": name, "package": package, "block": package.removeprefix("unetzoo_")}
    words["year"] = str(date.today().year)
    words["class_name"] = "".join(word.title() for word in words["block"].split("_"))
    try:
        written = [_write(folder, relative, text, words) for relative, text in _templates()]
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if as_json:
        print_json([str(path) for path in written])
    else:
        typer.echo("\n".join(str(path) for path in written))
        typer.echo(f"\nNext: pip install -e {folder}; unetzoo list '{words['block']}*'; pytest {folder}")


def _write(folder: Path, relative: str, text: str, words: dict[str, str]) -> Path:
    path = folder / Template(relative.removesuffix(".template")).substitute(words)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(words), encoding="utf-8")
    return path


def _templates() -> Iterator[tuple[str, str]]:
    """Pairs of relative path and text; both have `$words` to fill in."""
    return _walk(files(__package__) / "plugin_template", "")


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _walk(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".template"):
            yield prefix + item.name, item.read_text(encoding="utf-8")
