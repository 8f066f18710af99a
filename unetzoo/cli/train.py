"""`unetzoo train`: train a network by a recipe."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from unetzoo.cli.interrupting import interruptible
from unetzoo.cli.options import parse_overrides

NOTHING_KEPT = (
    "no checkpoint is kept yet, since the first is written after an epoch; begin again with --resume, or set "
    "checkpoint_every in the recipe"
)


class Precision(str, Enum):
    """What matrix products are computed in."""

    no = "no"
    fp16 = "fp16"
    bf16 = "bf16"


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    out: Annotated[Path, typer.Option(help="The folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Resume although the data are not those that the run began with.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A key of the recipe as key=value, nested keys dotted; can be given again."),
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Mixed precision; default: as launched.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU even where there is a GPU.")] = False,
) -> None:
    """Train a network by a recipe; on several devices by `accelerate launch -m unetzoo train ...`."""
    from accelerate import PartialState

    from unetzoo.training.loop import train as run
    from unetzoo.training.recipe import read_recipe
    from unetzoo.training.runs import RunFolder

    settings = read_recipe(recipe, parse_overrides(changes or []))
    console = Console()
    folder = RunFolder(out)
    again = f"unetzoo train {folder.recipe} --out {out} --resume"

    def advice() -> str:
        return f"the checkpoint {folder.last} is kept; go on with: {again}" if folder.last.exists() else NOTHING_KEPT

    with interruptible(advice):
        result = run(
            settings,
            out,
            resume=resume,
            changed_data=changed_data,
            precision=precision and precision.value,
            cpu=cpu,
            console=console,
        )
    processes = PartialState()
    console.quiet = not processes.is_main_process
    if result.scores is not None:
        console.print(f"mean IoU {result.scores.mean_iou:.4f} on the validation split", highlight=False)
    console.print(f"network: {result.folder}; curves, predictions and metrics beside it", highlight=False)
    processes.destroy_process_group()
