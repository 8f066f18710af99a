"""Writes docs/golden.md: how far every network of the catalog is from its authors' own numbers.

python benchmarks/golden_table.py [--only PATTERN] [--output docs/golden.md]
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.golden.rows import Row, rows  # noqa: E402

HEAD = """# Agreement with the authors' code

Each network was given the deterministic weights of `tests/golden`, in the key names of its authors' checkpoints, and
run on the golden input; the authors' own code gave the numbers it is compared with. The tolerance is twenty times the
rounding error of the reference itself. Made by `python benchmarks/golden_table.py`; `tests/test_golden.py` checks the
same rows.

| network | reference | parameters | output | largest deviation | tolerance |
|---|---|---:|---|---:|---:|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="shell pattern of the networks to run")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "golden.md")
    arguments = parser.parse_args()
    lines = []
    for row in rows():
        if fnmatch.fnmatch(row.model, arguments.only):
            lines += _lines(row)
            print(lines[-1], flush=True)
            gc.collect()
    _write(arguments.output, HEAD + "\n".join(lines) + "\n")


def _lines(row: Row) -> list[str]:
    model = row.build()
    count = sum(parameter.numel() for parameter in model.parameters())
    options = ", ".join(f"{key}={value}" for key, value in row.create.items())
    origin = row.record["origin"]
    reference = f"{origin['repo']} `{row.golden}`"
    return [
        f"| `{row.model}` ({options}) | {reference} | {count:,} | {deviation.array} "
        f"| {max(deviation.points, deviation.statistics):.1e} | {deviation.atol:.1e} |"
        for deviation in row.deviations(row.outputs(model))
    ]


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)


if __name__ == "__main__":
    main()
