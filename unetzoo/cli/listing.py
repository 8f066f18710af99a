"""`unetzoo list`: the names of models and components."""

from __future__ import annotations

from typing import Annotated

import typer

from unetzoo import registry
from unetzoo.catalog import list_components, list_models
from unetzoo.cli.output import Json, print_json, print_table


def list_names(
    pattern: Annotated[str, typer.Argument(help="Shell pattern; 'timm/*' lists a namespace.")] = "*",
    kind: Annotated[str, typer.Option(help="model, encoder, center, decoder, head or block.")] = "model",
    ndim: Annotated[int | None, typer.Option(help="Only models of this many spatial dimensions.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only models with this tag; can be given again.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this distribution registered.")] = None,
    as_json: Json = False,
) -> None:
    """List names, with the distribution that each comes from. Exits with 1 if nothing matches."""
    if kind == "model":
        names = list_models(pattern, ndim=ndim, tags=tag or (), source=source)
    else:
        names = list_components(kind, pattern)
    sources = {name: registry.find(kind, name).source for name in names}
    names = [name for name in names if source in (None, sources[name])]
    if as_json:
        print_json([{"name": name, "source": sources[name]} for name in names])
    else:
        print_table(f"{len(names)} {kind}s", ["name", "source"], [(name, sources[name]) for name in names])
    if not names:
        raise typer.Exit(1)
