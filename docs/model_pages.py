"""Makes the pages of the models from the registry while the site is built: a table of all, and a page for each card."""

from __future__ import annotations

from collections.abc import Iterable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import unetzoo
from unetzoo import ModelCard

HEAD = """# Models

Every named model; the page of each is its card. `unetzoo.create(name, num_classes=...)` makes it.

| model | year | dimensions | parameters | GFLOPs | license of the reference |
|---|---:|---|---:|---:|---|
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; mkdocs calls this hook."""
    cards = [unetzoo.info(name) for name in unetzoo.list_models()]
    files.append(File.generated(config, "models.md", content=HEAD + "\n".join(map(_row, cards)) + "\n"))
    for card in cards:
        files.append(File.generated(config, f"models/{card.name}.md", content=_page(card)))
    return files


def _row(card: ModelCard) -> str:
    params = f"{card.sizes.params:,}" if card.sizes else ""
    flops = f"{card.sizes.flops / 1e9:.1f}" if card.sizes and card.sizes.flops else ""
    dimensions = ", ".join(f"{ndim}-D" for ndim in card.ndim)
    name = f"[{card.name}](models/{card.name}.md)"
    return f"| {name} | {card.year} | {dimensions} | {params} | {flops} | {card.license} |"


def _page(card: ModelCard) -> str:
    facts = [
        ("Paper", f"[{card.title}]({card.paper})"),
        ("Authors", f"{card.authors}, {card.year}"),
        ("Reference code", f"<{card.reference}>, {card.license}" if card.reference else card.license),
        ("Parts", ", ".join(f"{kind} `{name}`" for kind, name in card.parts.items())),
        ("Dimensions", ", ".join(f"{ndim}-D" for ndim in card.ndim)),
        ("Smallest size", " x ".join(map(str, card.capabilities.min_size))),
        ("Deep supervision", "yes" if card.capabilities.deep_supervision else "no"),
        ("Tags", ", ".join(card.tags)),
        *_sizes(card),
    ]
    lines = [f"# {card.name}", "", card.description, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts]
    lines += ["", "## What it follows", "", card.follows, *_checkpoints(card)]
    return "\n".join(lines) + "\n"


def _sizes(card: ModelCard) -> Iterable[tuple[str, str]]:
    if card.sizes is None:
        return
    setting = f"{card.sizes.in_channels} channels in, {card.sizes.num_classes} classes out, {card.sizes.ndim}-D"
    yield "Parameters", f"{card.sizes.params:,} ({setting})"
    if card.sizes.flops and card.sizes.input:
        yield "FLOPs", f"{card.sizes.flops:,} at {' x '.join(map(str, card.sizes.input))}"


def _checkpoints(card: ModelCard) -> Iterable[str]:
    if card.checkpoints:
        yield from ("", "## Published weights", "")
        for name, checkpoint in card.checkpoints.items():
            facts = f"{checkpoint.trained_on}; {checkpoint.license}. {checkpoint.notes} <{checkpoint.url}>".replace(
                "  ", " "
            )
            yield f'- `checkpoint="{name}"`: {facts}'
            if checkpoint.manual:
                yield f"  The address is a folder: fetch {checkpoint.file} by hand and pass its path as `checkpoint`."
            if checkpoint.preprocessing is not None:
                known = checkpoint.preprocessing.model_dump(mode="json", exclude_defaults=True)
                yield f"  Preprocessing: {', '.join(f'{key} {value}' for key, value in known.items()) or 'x / 255'}."
            if checkpoint.classes is not None:
                yield f"  Classes: {', '.join(checkpoint.classes.names)}."
