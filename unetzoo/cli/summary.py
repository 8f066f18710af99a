"""`unetzoo summary`: layers, parameters, FLOPs and output sizes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from unetzoo.cli.options import Overrides, parse_overrides
from unetzoo.cli.output import Json, print_json, print_table


def summary(
    name: Annotated[str, typer.Argument(help="A model's name, or the path of a YAML file.")],
    size: Annotated[list[int] | None, typer.Option(help="Spatial size, once for all axes or once per axis.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="How deep into the model to list modules.")] = 3,
    option: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show the modules of a model with their parameters and output sizes, and the FLOPs of one image."""
    from unetzoo.factory import create
    from unetzoo.summary import summarize

    result = summarize(lambda: create(name, **parse_overrides(option or [])), size=size, depth=depth)
    if as_json:
        print_json(asdict(result))
        return
    rows = [(row.name, row.type, row.params, "\n".join(map(_times, row.outputs))) for row in result.rows]
    print_table(name, ["module", "type", "parameters", "output"], rows)
    typer.echo(f"parameters: {result.params:,}   input: {_times(result.input)}   output: {_times(result.output)}")
    typer.echo(f"FLOPs (two for a multiply and add): {result.flops:,}")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
