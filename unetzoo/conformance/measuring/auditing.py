"""What code does outside of its process, as Python's audit events tell it: connections, files, other processes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _written(path: object, mode: str | None, flags: int) -> str | None:
    """The file, where it is opened for writing; what imports compile is Python's own."""
    writing = flags & WRITING if mode is None else set(mode) & set("wax+")
    name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    own = name in ("", os.devnull) or ".pyc" in name
    return f"wrote to the file {name!r}" if writing and not own else None


DESCRIPTIONS: dict[str, Callable[..., str | None]] = {
    "open": _written,
    "os.mkdir": lambda path, *_: f"made the folder {path!r}",
    "os.remove": lambda path, *_: f"removed the file {path!r}",
    "os.rename": lambda path, new, *_: f"renamed the file {path!r} to {new!r}",
    "os.system": lambda command: f"ran {command!r}",
    "os.fork": lambda: "forked the process",
    "os.posix_spawn": lambda program, *_: f"started the process {program!r}",
    "subprocess.Popen": lambda program, *_: f"started the process {program!r}",
    "socket.connect": lambda _, address: f"opened a connection to {address!r}",
    "socket.getaddrinfo": lambda host, *_: f"asked for the address of {host!r}",
}
_listeners: list[tuple[int, list[str]]] = []


@contextlib.contextmanager
def audited() -> Iterator[list[str]]:
    """Yield a list that fills with what this thread does outside of the process, in words."""
    _listen()
    listener: tuple[int, list[str]] = (threading.get_ident(), [])
    _listeners.append(listener)
    try:
        yield listener[1]
    finally:
        _listeners.remove(listener)


@cache
def _listen() -> None:
    # A hook cannot be taken back, so there is one for all listeners, idle while there are none.
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _listeners or event not in DESCRIPTIONS:
        return
    described = DESCRIPTIONS[event](*arguments)
    for thread, heard in _listeners:
        if described is not None and thread == threading.get_ident():
            heard.append(described)
