"""`unetzoo info`: the card of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from unetzoo.catalog import info as read_card
from unetzoo.cli.output import Json, print_json, print_table


def info(name: Annotated[str, typer.Argument(help="A model's name.")], as_json: Json = False) -> None:
    """Show what is known of a model: paper, license, parts, sizes, published weights."""
    card = read_card(name).model_dump(mode="json")
    if as_json:
        print_json(card)
        return
    for nested in ("parts", "sizes", "checkpoints"):
        card[nested] = "\n".join(f"{key}: {_one_line(value)}" for key, value in (card[nested] or {}).items())
    rows = [(key, _one_line(value)) for key, value in card.items() if value not in (None, "", [])]
    print_table(name, ["field", "value"], rows)


def _one_line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_one_line(inner)}" for key, inner in value.items() if inner not in (None, ""))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
