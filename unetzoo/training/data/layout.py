"""Finding the files of a data set: pairs of image and mask by patterns, and the split that each belongs to."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetzoo.errors import ConfigError, nearest
from unetzoo.images.opening import SUFFIXES, suffix_of
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.errors import DataError
from unetzoo.training.data.presets import FOLDER

LISTS = ("train", "val", "test")
FRACTIONS = {"train": 0.8, "val": 0.2}


@dataclass(frozen=True)
class Entry:
    """One image and its mask; none where the whole image is of the first class."""

    name: str
    image: Path
    mask: Path | None


def find_entries(config: DataConfig, wanted: Sequence[str] | None = None) -> tuple[dict[str, list[Entry]], list[str]]:
    """The entries of each split, or of those wanted, and the problems found: what is missing, doubled or in two splits.

    Raises `DataError` for a data set that is not there at all, and `ConfigError` for an unknown split.
    """
    if not config.root.is_dir():
        raise DataError(f"{config.root}: no such folder; root must name the folder of the data set")
    problems: list[str] = []
    splits: dict[str, list[Entry]] = {}
    if config.in_folders:
        folders = config.splits or {}
        for split in _chosen(folders, wanted):
            pairs = _pairs(config, str(folders[split]), problems)
            splits[split] = _entries(pairs, sorted(pairs.images), config, problems)
    else:
        pairs = _pairs(config, None, problems)
        names = _split_names(config, pairs, problems)
        _check_disjoint(names, problems)
        for split in _chosen(names, wanted):
            splits[split] = _entries(pairs, names[split], config, problems)
    problems += [f"split {split!r} is empty" for split, entries in splits.items() if not entries and not problems]
    return {split: entries[: config.limit] for split, entries in splits.items()}, problems


def _chosen(splits: Collection[str], wanted: Sequence[str] | None) -> list[str]:
    for split in wanted or ():
        if split not in splits:
            raise ConfigError(f"no split {split!r}{nearest(split, splits)} (splits: {', '.join(splits)})")
    return [split for split in splits if wanted is None or split in wanted]


@dataclass(frozen=True)
class _Pairs:
    images: dict[str, Path]
    masks: dict[str, Path]
    mask_pattern: str


def _pairs(config: DataConfig, folder: str | None, problems: list[str]) -> _Pairs:
    image_patterns = [_complete(pattern, folder) for pattern in config.images]
    mask_patterns = [_complete(pattern, folder) for pattern in config.masks]
    mask_pattern, masks = _find(config.root, mask_patterns, problems, {})
    # An archive may hold both; otherwise a mask beside its image is not an image itself.
    beside = {} if mask_patterns == image_patterns else {path: name for name, path in masks.items()}
    _, images = _find(config.root, image_patterns, problems, beside)
    if not images:
        raise DataError(
            f"{config.root}: no images found as {' or '.join(image_patterns)}; read are {', '.join(SUFFIXES)}"
        )
    return _Pairs(images, masks, mask_pattern)


def _complete(pattern: str, folder: str | None) -> str:
    pattern = pattern if "{name}" in pattern else f"{pattern.rstrip('/')}/{{name}}.*"
    return pattern if folder is None else pattern.replace("{split}", folder)


def _find(
    root: Path, patterns: Sequence[str], problems: list[str], taken: dict[Path, str]
) -> tuple[str, dict[str, Path]]:
    """The first pattern that finds files, and these by name."""
    for pattern in patterns:
        found: dict[str, Path] = {}
        for name, path in _matches(root, pattern):
            if path in taken:
                continue
            if name in found:
                problems.append(f"{path}: another file of the same name is {found[name].name}")
            found.setdefault(name, path)
        if found:
            return pattern, found
    return " or ".join(patterns), {}


def _matches(root: Path, pattern: str) -> Iterable[tuple[str, Path]]:
    before, _, after = pattern.partition("{name}")
    folder, slash, prefix = before.rpartition("/")
    base = root / folder if slash else root
    for path in sorted(base.rglob("*")):
        relative = path.relative_to(base).as_posix()
        suffix = suffix_of(path)
        ending = after[:-2] + suffix if after.endswith(".*") else after
        named = relative.startswith(prefix) and relative.lower().endswith(ending.lower())
        name = relative[len(prefix) : len(relative) - len(ending)]
        if suffix and named and name and not path.name.startswith(".") and path.is_file():
            yield name, path


def _entries(pairs: _Pairs, names: Iterable[str], config: DataConfig, problems: list[str]) -> list[Entry]:
    entries = []
    for name in names:
        image, mask = pairs.images.get(name), pairs.masks.get(name)
        whole = config.unmasked is not None and fnmatch.fnmatchcase(name, config.unmasked)
        if image is None:
            problems.append(f"{name}: listed in a split, but there is no such image")
        elif mask is None and not whole:
            problems.append(f"{image}: no mask found as {pairs.mask_pattern.replace('{name}', name)}")
        else:
            entries.append(Entry(name, image, mask))
    return entries


def _split_names(config: DataConfig, pairs: _Pairs, problems: list[str]) -> dict[str, list[str]]:
    if config.splits is not None:
        fractions = {split: part for split, part in config.splits.items() if not isinstance(part, str)}
        lists = {split: part for split, part in config.splits.items() if isinstance(part, str)}
    else:
        fractions = FRACTIONS
        lists = {split: f"{split}.txt" for split in LISTS if (config.root / f"{split}.txt").is_file()}
    if lists:
        return {split: _listed(config, part, pairs.images, problems) for split, part in lists.items()}
    return _draw(sorted(pairs.images), fractions, config)


def _draw(names: list[str], fractions: dict[str, float], config: DataConfig) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        match = re.search(config.group, name) if config.group else None
        groups.setdefault(match[0] if match else name, []).append(name)
    order = sorted(groups)
    random.Random(config.seed).shuffle(order)
    drawn, start, total = {}, 0, 0.0
    for split, fraction in fractions.items():
        total += fraction
        stop = round(total * len(order))
        drawn[split] = sorted(name for group in order[start:stop] for name in groups[group])
        start = stop
    return drawn


def _listed(config: DataConfig, file: str, known: Container[str], problems: list[str]) -> list[str]:
    path = next((path for path in (config.root / file, FOLDER / file) if path.is_file()), None)
    if path is None:
        raise DataError(f"{config.root / file}: no such file; it should list the names of a split, one per line")
    names = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            names.append(_name_in(line.strip(), known))
    problems += [f"{path}: lists {name} more than once" for name in sorted({n for n in names if names.count(n) > 1})]
    return names


def _name_in(line: str, known: Container[str]) -> str:
    """The name in a line: all of it, its first word where columns follow, either with a suffix or without."""
    for name in (line, line.split()[0]):
        bare = name[: len(name) - len(suffix_of(Path(name)))] if suffix_of(Path(name)) else name
        for candidate in (name, bare):
            if candidate in known:
                return candidate
    return line.split()[0]


def _check_disjoint(splits: dict[str, list[str]], problems: list[str]) -> None:
    seen: dict[str, str] = {}
    for split, names in splits.items():
        for name in names:
            if seen.setdefault(name, split) != split:
                problems.append(f"{name}: is in both {seen[name]!r} and {split!r}")
