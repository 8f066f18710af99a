"""A fingerprint of a data set, by which a run that is resumed knows whether its data are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from unetzoo.training.data.loading import SegmentationData
from unetzoo.training.data.samples import SegmentationFolder

Fingerprint = dict[str, list[list[str]]]
READ = 2**16  # bytes of each end of a file
TOLD = 5  # names in a message


def fingerprint(data: SegmentationData) -> Fingerprint:
    """The names of the samples that a run learns from and is scored on, in their order, each with a digest.

    A digest is of the size of image and mask and the 64 KiB at both ends of each.
    """
    used = {"train": data.train, "val": data.val}
    return {split: _samples(folder) for split, folder in used.items() if folder is not None}


def changes(before: Mapping[str, list[list[str]]], now: Mapping[str, list[list[str]]]) -> str:
    """What differs between two fingerprints, in words; empty if nothing does."""
    told = []
    for split in sorted({*before, *now}):
        old, new = ({row[0]: row[1] for row in each.get(split, [])} for each in (before, now))
        kinds = {
            "gone": [name for name in old if name not in new],
            "new": [name for name in new if name not in old],
            "changed": [name for name in old if name in new and old[name] != new[name]],
        }
        told += [f"{split}: {kind} {_listed(names)}" for kind, names in kinds.items() if names]
        if not any(kinds.values()) and list(old) != list(new):
            told.append(f"{split}: in another order")
    return "; ".join(told)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def _samples(folder: SegmentationFolder) -> list[list[str]]:
    return [[entry.name, _digest(entry.image, entry.mask)] for entry in folder.entries]


def _digest(*paths: Path | None) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path is None:
            digest.update(b"none")
            continue
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for name in files:
            size = name.stat().st_size
            digest.update(f"{size},".encode())
            with name.open("rb") as file:
                digest.update(file.read(READ))
                file.seek(max(READ, size - READ))
                digest.update(file.read(READ))
    return digest.hexdigest()[:16]
