"""Ending by Ctrl-C or SIGTERM: what is kept, and how to go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer


@contextmanager
def interruptible(advice: Callable[[], str]) -> Iterator[None]:
    """Print `advice` when Ctrl-C or SIGTERM ends the block, and exit with the shell's code for it, 130 or 143."""
    main, came = os.getpid(), signal.SIGINT

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if os.getpid() != main:  # a process that loads data, forked with this handler
            os._exit(128 + number)
        came = signal.SIGTERM
        raise KeyboardInterrupt

    outer = None
    if threading.current_thread() is threading.main_thread():
        outer = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nended by {came.name}: {advice()}", err=True)
        raise typer.Exit(128 + came) from None
    finally:
        if outer is not None:
            signal.signal(signal.SIGTERM, outer)
