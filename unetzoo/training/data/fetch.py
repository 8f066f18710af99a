"""Fetching a public data set from its owner; nothing else in the package touches the network for data."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import torch

from unetzoo.errors import ConfigError
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.prepare import prepare
from unetzoo.training.data.presets import Download, preset


def fetch(
    name: str, destination: Path, report: Callable[[str], None] = lambda line: None, *, progress: bool = False
) -> Path:
    """Download a preset's data set, check its hashes where they are known, unpack it, and return its folder.

    Everything happens in a folder beside `destination`, which appears only when all of it is in order; what was half
    done is removed, and nothing is resumed.

    Args:
        name: the preset.
        destination: folder to make; it must not exist, or be empty.
        report: is called with a line on each step.
        progress: show how far each download has come.

    Raises `ConfigError` if the preset cannot be fetched, telling how to get it by hand, or if `destination` holds
    something; `DataError` if a file cannot be downloaded, has another hash or cannot be unpacked.
    """
    described = preset(name)
    if not described.downloads:
        raise ConfigError(f"{name} cannot be fetched: {described.by_hand} ({described.homepage})")
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ConfigError(f"{destination}: is not empty; name a folder that does not exist yet")
    by_hand = f"; by hand: {described.by_hand or described.homepage}"
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as folder:
        work = Path(folder)
        unpacked = work / "data"
        unpacked.mkdir()
        for download in described.downloads:
            report(f"downloading {download.url}")
            archive = _download(download, work, by_hand, progress)
            report(f"unpacking {archive.name}")
            _unpack(archive, unpacked / download.folder)
            archive.unlink()
        if described.prepare is not None:
            prepared = work / "prepared"
            report(f"wrote {prepare(described.prepare, unpacked, prepared)} images and masks")
            unpacked = prepared
        if destination.exists():
            destination.rmdir()
        unpacked.rename(destination)
    return destination


def _download(download: Download, folder: Path, by_hand: str, progress: bool) -> Path:
    path = folder / Path(urlsplit(download.url).path).name
    try:
        torch.hub.download_url_to_file(download.url, str(path), progress=progress)
    except OSError as error:
        raise DataError(f"{download.url} cannot be downloaded: {error}{by_hand}") from error
    for algorithm, expected in (("sha256", download.sha256), ("md5", download.md5)):
        if expected is not None:
            digest = hashlib.new(algorithm, usedforsecurity=False)
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            found = digest.hexdigest()
            if found != expected:
                raise DataError(f"{download.url}: the {algorithm} is {found}; expected {expected}{by_hand}")
    return path


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".zip":
            shutil.unpack_archive(archive, folder)
        else:
            shutil.unpack_archive(archive, folder, filter="data")
    except (shutil.ReadError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{archive.name}: cannot be unpacked: {error}") from error
