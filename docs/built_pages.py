"""Pages that are built and not committed: the table of checks, and the results of two long runs where they are there.

`build/pages/` holds what the runs wrote; without it the page says which command writes it.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from unetzoo.conformance import all_checks

PAGES = Path(__file__).parents[1] / "build" / "pages"
LONG_RUNS = {
    "timm_table.md": ("Table of timm backbones", "python -m benchmarks.timm_coverage"),
    "conformance_kill_matrix.md": ("Kill matrix", "python -m benchmarks.kill_matrix"),
}
HEAD = "| check | level | profile | cost | device | property |\n|---|---|---|---|---|---|\n"
DEVICES = {"both": "any", "cpu": "CPU", "cuda": "CUDA"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; mkdocs calls this hook."""
    files.append(File.generated(config, "conformance_checks.md", content=checks_page()))
    for name, (title, command) in LONG_RUNS.items():
        built = PAGES / name
        missing = f"# {title}\n\nNot part of this build. `{command}` writes it; build the site again afterwards.\n"
        content = built.read_text(encoding="utf-8") if built.is_file() else missing
        files.append(File.generated(config, name, content=content))
    return files


def checks_page() -> str:
    """Return the table of all checks, by subject, from their docstrings."""
    checks = all_checks()
    parts = ["# Checks of the conformance suite\n"]
    for subject in sorted({check.subject for check in checks}):
        rows = [
            f"| `{check.id}` | {check.level} | {'core' if check.core else 'full'} | {check.cost} "
            f"| {DEVICES[check.devices]} | {check.summary.replace('|', chr(92) + '|')} |\n"
            for check in checks
            if check.subject == subject
        ]
        parts.append(f"## {subject.capitalize()}\n\n{HEAD}{''.join(rows)}")
    return "\n".join(parts)
