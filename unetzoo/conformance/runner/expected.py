"""Expected failures in a JSON file: `{"NAME": {"check_id": "reason"}}`."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from unetzoo.errors import ConfigError


def read_expected_failures(path: Path | None, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Return reasons by check id by name; empty without a path.

    Raises ConfigError for a file that cannot be read or has another form, and for networks that are not checked.
    """
    if path is None:
        return {}
    form = 'expected {"NAME": {"check_id": "reason"}}'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a JSON file of expected failures") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON ({error}); {form}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds a {type(data).__name__}; {form}")
    for name, reasons in data.items():
        if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
            raise ConfigError(f"{path}: {name!r} holds {reasons!r}; {form}")
    unknown = sorted(set(data) - set(names))
    if unknown:
        raise ConfigError(f"{path} names {', '.join(unknown)}, not checked here; checked: {', '.join(names)}")
    return data
