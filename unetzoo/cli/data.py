"""`unetzoo data`: the presets of public data sets, getting one, and checking one before it is trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from unetzoo.cli.output import Json, print_json, print_table
from unetzoo.errors import ConfigError
from unetzoo.yamlfile import read_yaml

if TYPE_CHECKING:
    from unetzoo.training.data import DataConfig, Preset, SegmentationData

data = typer.Typer(no_args_is_help=True, help="Public data sets, and checking one's own.")


@data.command("list")
def list_data(as_json: Json = False) -> None:
    """List the presets of public data sets, with their terms."""
    from unetzoo.training.data import list_presets, preset

    presets = {name: preset(name) for name in list_presets()}
    if as_json:
        print_json([{"name": name, **described.model_dump(mode="json")} for name, described in presets.items()])
        return
    rows = [(name, described.title, described.license, _way(described)) for name, described in presets.items()]
    print_table(f"{len(presets)} data sets", ["name", "what", "license", "to get it"], rows)


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Preset: see `unetzoo data list`.")],
    to: Annotated[Path | None, typer.Option(help="Folder to make; default: data/NAME.")] = None,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Do not ask whether the terms suit you.")
    ] = False,
) -> None:
    """Show the terms of a public data set, and download it from its owner."""
    from unetzoo.training.data import preset
    from unetzoo.training.data.fetch import fetch as fetch_preset

    described = preset(name)
    typer.echo(f"{described.title}\n{described.homepage}\n\nlicense: {described.license}\n{described.terms}")
    typer.echo(f"cite: {described.cite}\n")
    if described.downloads and not accept_terms:
        typer.confirm("Download it under these terms?", abort=True)
    folder = fetch_preset(name, to or Path("data") / name, typer.echo, progress=sys.stderr.isatty())
    typer.echo(f"{folder}: done; check it with: unetzoo data check {folder} --preset {name}")


@data.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Preset whose download has to be turned into images and masks.")],
    source: Annotated[Path, typer.Argument(help="Folder of the owner's files, got by hand.")],
    to: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Turn an owner's files that were downloaded by hand into images and masks, as `fetch` does."""
    from unetzoo.training.data import preset
    from unetzoo.training.data.prepare import prepare as prepare_files

    preparation = preset(name).prepare
    if preparation is None:
        raise ConfigError(f"{name} needs no preparation: its files are read as its owner publishes them")
    typer.echo(f"{to}: wrote {prepare_files(preparation, source, to)} images and masks")


@data.command()
def check(
    target: Annotated[Path, typer.Argument(help="Recipe or data config (YAML), or with --preset the data's folder.")],
    preset: Annotated[str | None, typer.Option(help="Preset that describes the folder.")] = None,
    as_json: Json = False,
) -> None:
    """Read every file of a data set; list all that is wrong with it, or how often each class occurs."""
    from unetzoo.training.data import load_data

    config = _config(target, preset)
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading", total=None)
        loaded = load_data(config, progress=lambda done, total: bar.update(task, completed=done, total=total))
    shares = {split: _shares(loaded, split) for split in loaded.splits}
    if as_json:
        print_json({split: {"images": len(loaded.splits[split]), "shares": shares[split]} for split in shares})
        return
    rows = [("images", *(str(len(folder)) for folder in loaded.splits.values()))]
    rows += [
        (name, *(f"{100 * shares[split][name]:.2f} %" for split in shares)) for name in (*loaded.classes.names, "void")
    ]
    title = f"{config.root}: OK, {loaded.in_channels} channels, {loaded.ndim}-D"
    print_table(title, ["pixels of", *loaded.splits], rows)


def _way(described: Preset) -> str:
    return "fetch" if described.downloads else "by hand"


def _config(target: Path, preset: str | None) -> DataConfig:
    from unetzoo.training.data import DataConfig

    if preset is not None:
        return DataConfig.parse({"preset": preset, "root": target})
    if target.is_dir():
        raise ConfigError(
            f"{target}: is a folder; name its preset with --preset, or give a YAML file that describes it"
        )
    content, _ = read_yaml(target)
    described = content.get("data", content)
    if not isinstance(described, dict):
        raise ConfigError(f"{target}: data: expected a mapping of keys to values, got {described!r}")
    if isinstance(described.get("root"), str):
        described["root"] = target.parent / Path(described["root"]).expanduser()
    return DataConfig.parse(described, str(target))


def _shares(loaded: SegmentationData, split: str) -> dict[str, float]:
    """The part of a split's pixels that each class and void have."""
    import torch

    classes = loaded.classes
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(loaded.splits[split])):
        counts += torch.bincount(loaded.splits[split][index]["target"].flatten(), minlength=256)
    labels = {**{name: label for label, name in enumerate(classes.names)}, "void": classes.ignore_index}
    return {name: counts[label].item() / counts.sum().item() for name, label in labels.items()}
