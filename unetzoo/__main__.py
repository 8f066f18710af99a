"""`python -m unetzoo` is the command line."""

from __future__ import annotations

from unetzoo.cli import main

main()
