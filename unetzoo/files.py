"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unetzoo.errors import ConfigError


def check_target(path: Path) -> None:
    """Raise `ConfigError` for a file to be written whose folder does not exist, or that is a folder itself."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; expected the name of a file to write")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there when the block ends without an error.

    Raises `ConfigError` as `check_target` does.
    """
    check_target(path)
    # Some writers go by the suffix.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one that writes `path`, a file or folder; the lock ends with its process, however that ends.

    Raises `ConfigError` if another holds it.
    """
    from filelock import FileLock, Timeout

    note = path.with_name(f".{path.name}.lock")
    while True:
        lock = FileLock(note, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"{path} is being written by another process or thread; wait for it, or write elsewhere"
            ) from None
        if note.exists():  # not taken away by its last holder between opening and locking
            break
        lock.release()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps open files
            note.unlink()
        lock.release()


def is_file(path: object) -> bool:
    """Whether `path` names a file; false for anything that is no path at all."""
    try:
        return Path(path).is_file()  # type: ignore[arg-type]
    except (TypeError, ValueError, OSError):  # no path, a NUL byte in it, or too long a name
        return False


def is_folder(path: object) -> bool:
    """Whether `path` names a folder; false for anything that is no path at all."""
    try:
        return Path(path).is_dir()  # type: ignore[arg-type]
    except (TypeError, ValueError, OSError):
        return False


def write_text(path: Path, text: str) -> None:
    """Write `text`, as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    # Temporary files are private; what replaces a user's file gets the permissions that the user asked for.
    mask = os.umask(0)
    os.umask(mask)
    return mask
