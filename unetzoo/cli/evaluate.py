"""`unetzoo evaluate`: score a trained network on a split of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from unetzoo.cli.options import parse_overrides
from unetzoo.cli.output import Json, print_json, print_table
from unetzoo.cli.predict import Cut, Symmetries, default_device
from unetzoo.errors import ConfigError
from unetzoo.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

    from unetzoo.network import DenseModel
    from unetzoo.training.data import DataConfig


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder of a run, of a saved model, or id of a hub repository.")],
    data: Annotated[
        Path | None,
        typer.Option(help="A recipe that names the data, or a folder laid out as the run's data; else the run's own."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="The split to score: test, or val where there is none.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="A key of the data as key=value, such as limit=10; repeatable.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=1, help="Tile size along an axis in pixels; default: whole images.")
    ] = None,
    mode: Annotated[Cut | None, typer.Option(help="How images larger than the tile are cut; default: exact.")] = None,
    tta: Annotated[Symmetries, typer.Option(help="Average over mirrored, or also turned, images.")] = Symmetries.none,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out boundary F1 and Hausdorff distances.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU where there is one.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the scores to, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Score a network by the pixels of a whole split together: IoU and Dice of each class; and by its contours."""
    from unetzoo.inference.predictor import Predictor
    from unetzoo.nn.evaluation import evaluating
    from unetzoo.pretrained import from_pretrained
    from unetzoo.training.data import load_data
    from unetzoo.training.data.layout import find_entries
    from unetzoo.training.evaluation import Contours, report
    from unetzoo.training.evaluation import evaluate as score

    network = from_pretrained(model)
    config = _configured(model, network, data, changes or [])
    # The weights' preprocessing takes precedence over the data config's, unless that is what is tried out.
    own = None if any(change.startswith("normalize") for change in changes or []) else network.preprocessing
    network.preprocessing = own or config.preprocessing
    predictor = Predictor(
        network, mode=mode.value if mode else None, tile=tile, tta=tta.value, device=device or default_device()
    )
    split = split or ("test" if "test" in find_entries(config)[0] else "val")
    loaded = load_data(config, [split], preprocessing=own)
    samples = loaded.splits[split]
    contours = None if fast else Contours(network.num_classes, loaded.ndim, loaded.classes.ignore_index)
    with Progress(console=Console(stderr=True), transient=True) as progress, evaluating(predictor.network):
        task = progress.add_task(f"{len(samples)} images", total=len(samples))

        def observe(logits: Tensor, target: Tensor) -> None:
            progress.advance(task)
            if contours is not None:
                contours.update(logits, target)

        scores = score(
            predictor.logits if tile else predictor.network,
            samples,
            loaded.normalize,
            next(network.parameters()).device,
            num_classes=network.num_classes,
            observe=observe,
        )
    found = {"split": split, "images": len(samples), **report(scores, loaded.classes.names, contours)}
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        print_json(found)
    else:
        _print(found)


def _configured(source: str, network: DenseModel, given: Path | None, changes: list[str]) -> DataConfig:
    """The data that the network was trained on, with what the user wants otherwise."""
    from unetzoo.applied import Classes
    from unetzoo.training.data import DataConfig
    from unetzoo.training.recipe import read_recipe
    from unetzoo.training.runs import RunFolder

    recipe = RunFolder(Path(source)).recipe
    if given is not None and given.suffix in (".yaml", ".yml"):
        own = read_recipe(given).data.model_dump(mode="json")
    elif recipe.is_file():
        own = read_recipe(recipe).data.model_dump(mode="json")
    elif given is not None:
        classes = network.classes or Classes.numbered(network.num_classes)
        own = {"classes": list(classes.names), "colors": classes.colors, "ndim": network.ndim}
    else:
        raise ConfigError(f"{source} is not the folder of a training run; name the data with --data")
    if given is not None and given.suffix not in (".yaml", ".yml"):
        own["root"] = given
    return DataConfig.parse({**own, **parse_overrides(changes)}, "data")


def _print(found: Mapping[str, object]) -> None:
    classes = found["classes"]
    if not isinstance(classes, dict) or not classes:
        raise ConfigError("the split holds no pixel of any class")
    columns = list(next(iter(classes.values())))
    rows = [(name, *(_cell(scores.get(column)) for column in columns)) for name, scores in classes.items()]
    means = ("mean", *(_cell(found.get(f"mean_{column}")) for column in columns))
    titles = [column.replace("_", " ").replace("iou", "IoU").replace("f1", "F1") for column in columns]
    print_table(f"split {found['split']}, {found['images']} images", ["class", *titles], [*rows, means])
    typer.echo(f"pixel accuracy: {_cell(found['pixel_accuracy'])}")


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-"
