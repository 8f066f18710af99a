"""The command line `unetzoo`.

Exit codes: 0 for success, 1 for an answer of "no" (nothing matched, a check failed), 2 for input that was refused.
"""

from __future__ import annotations

import sys

import typer

from unetzoo.cli.check import check
from unetzoo.cli.data import data
from unetzoo.cli.evaluate import evaluate
from unetzoo.cli.info import info
from unetzoo.cli.listing import list_names
from unetzoo.cli.plugin import new_plugin
from unetzoo.cli.predict import predict
from unetzoo.cli.schema import schema
from unetzoo.cli.summary import summary
from unetzoo.cli.train import train
from unetzoo.errors import UnetzooError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A model zoo for dense prediction.")
app.command("list")(list_names)
app.command()(info)
app.command()(check)
app.command()(summary)
app.command()(schema)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(new_plugin)
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line; an error of ours, or of a file, is a message and exit code 2, not a traceback."""
    try:
        app()
    except UnetzooError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"{error.filename}: {error.strerror}" if error.filename else str(error), err=True)
        sys.exit(2)
