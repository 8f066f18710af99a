"""Options of `create` on the command line: `-o decoder.skip=attention`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
import yaml

from unetzoo.components.mistakes import shortened
from unetzoo.errors import ConfigError

Overrides = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="An option of the model as key=value, nested keys dotted; can be given again."),
]


def parse_overrides(options: Iterable[str]) -> dict[str, Any]:
    """Return the keyword arguments of `create`; values are read as YAML.

    >>> parse_overrides(["num_classes=22", "decoder.skip=attention"])
    {'num_classes': 22, 'decoder': {'skip': 'attention'}}
    """
    result: dict[str, Any] = {}
    for option in options:
        path, equals, text = option.partition("=")
        *outer, last = path.split(".")
        if not equals or not all([*outer, last]):
            raise ConfigError(
                f"option {option!r}: expected key=value, such as num_classes=22 or decoder.skip=attention"
            )
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"option {shortened(repr(option))}: the value is not YAML: {error}") from error
        place = result
        for key in outer:
            if not isinstance(place.setdefault(key, {}), dict):
                place[key] = {"name": place[key]}
            place = place[key]
        place[last] = value
    return result
