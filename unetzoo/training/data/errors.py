"""Problems of a data set on disk, collected over its files and listed in one error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unetzoo.errors import InputError

SHOWN = 20


class DataError(InputError):
    """A data set on disk that is not what its config promises; the message names every file concerned."""

    @classmethod
    def of(cls, root: Path, problems: Sequence[str]) -> DataError:
        """The error that counts all problems found under `root` and spells out the first ones."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = list(problems[:SHOWN])
        if len(problems) > SHOWN:
            lines.append(f"and {len(problems) - SHOWN} more")
        return cls(f"{count} in the data set {root}:\n  " + "\n  ".join(lines))
