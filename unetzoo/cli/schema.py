"""`unetzoo schema`: the JSON Schema of config files, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unetzoo.files import write_text


def schema(
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Write the JSON Schema that editors validate and complete config files with."""
    from unetzoo.config.schema import ModelConfig

    text = json.dumps(ModelConfig.model_json_schema(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
