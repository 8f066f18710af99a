"""`unetzoo list`: models with what they are for, and components by name."""

from __future__ import annotations

from typing import Annotated

import typer

from unetzoo import registry
from unetzoo.catalog import info, list_components, list_models
from unetzoo.cli.output import Json, print_json, print_table
from unetzoo.errors import UnetzooError


def list_names(
    pattern: Annotated[str, typer.Argument(help="Shell pattern; 'smp/*' lists a namespace.")] = "*",
    kind: Annotated[str, typer.Option(help="model, encoder, center, decoder, head or block.")] = "model",
    ndim: Annotated[int | None, typer.Option(help="Only models of this number of spatial dimensions.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only models with this tag; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this distribution registered.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Only models with (without) published weights.")
    ] = None,
    max_params: Annotated[float | None, typer.Option(help="Only models of at most so many million parameters.")] = None,
    as_json: Json = False,
) -> None:
    """List models with year, dimensions, parameters and purpose, or the names of components.

    Exits with 1 if nothing matches.
    """
    if kind == "model":
        names = list_models(pattern, ndim=ndim, tags=tag or (), source=source, pretrained=pretrained)
        rows = [row for name in names if (row := _model(name)) and _is_within(row, max_params)]
    else:
        entries = [registry.find(kind, name) for name in list_components(kind, pattern)]
        rows = [{"name": entry.name, "source": entry.source} for entry in entries if source in (None, entry.source)]
    if as_json:
        print_json(rows)
    else:
        columns = list(rows[0]) if rows else ["name"]
        shown = [[_cell(column, row[column]) for column in columns] for row in rows]
        print_table(f"{len(rows)} {kind}s", columns, shown)
        if "/" not in pattern:
            namespaces = ", ".join(f"'{namespace}/*'" for namespace in registry.namespaces())
            typer.echo(f"More in the namespaces {namespaces}: unetzoo list 'smp/*', or --kind encoder 'timm/res*'.")
    if not rows:
        raise typer.Exit(1)


def _model(name: str) -> dict[str, object]:
    """One row; of a model whose card cannot be read, the reason."""
    try:
        card = info(name)
    except UnetzooError as error:
        return {**dict.fromkeys(("year", "dims", "params", "for")), "name": name, "source": "", "for": str(error)}
    return {
        "name": name,
        "year": card.year,
        "dims": ", ".join(f"{ndim}-D" for ndim in card.ndim),
        "params": card.sizes.params if card.sizes else None,
        "for": card.description or card.title,
        "source": card.source,
    }


def _cell(column: str, value: object) -> object:
    return "" if value is None else str(value) if column == "year" else value


def _is_within(row: dict[str, object], max_params: float | None) -> bool:
    params = row["params"]
    return max_params is None or (isinstance(params, int) and params <= max_params * 1e6)
