"""Reading every file of a data set once, to report all that is wrong with it before training starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from unetzoo.errors import InputError
from unetzoo.training.data.config import DataConfig
from unetzoo.training.data.samples import SegmentationFolder

FileProgress = Callable[[int, int], None]


class _Facts(NamedTuple):
    path: object
    channels: int
    labels: set[int]
    unit_range: bool


def verify(
    splits: Mapping[str, SegmentationFolder], problems: list[str], progress: FileProgress | None = None
) -> tuple[int, bool]:
    """Read every sample, and add what is wrong with one of them or with all to `problems`.

    Returns the number of channels, and whether all images lie in 0 to 1.
    """
    items = [(folder, index) for folder in splits.values() for index in range(len(folder))]
    facts: list[_Facts] = []
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(_look, items), start=1):
            if isinstance(found, str):
                problems.append(found)
            else:
                facts.append(found)
            if progress is not None:
                progress(done, len(items))
    counts = Counter(fact.channels for fact in facts)
    usual = max(counts, key=lambda channels: counts[channels], default=0)
    problems += [
        f"{fact.path}: {fact.channels} channels, where {counts[usual]} images have {usual}; "
        "set `channels` to rgb or gray"
        for fact in facts
        if fact.channels != usual
    ]
    if "train" in splits and not problems:
        problems += _one_class_alone(splits["train"].config, set().union(*(fact.labels for fact in facts)))
    unit_range = all(fact.unit_range for fact in facts)
    if any(folder.config.normalize == "imagenet" for folder in splits.values()):
        problems += [
            f"{fact.path}: holds values outside 0 to 1, for which ImageNet's mean and deviation are not; "
            "set `normalize` to image, or to a mean and deviation"
            for fact in facts
            if not fact.unit_range
        ]
    return usual, unit_range


def _look(item: tuple[SegmentationFolder, int]) -> _Facts | str:
    folder, index = item
    try:
        sample = folder[index]
    except InputError as error:
        return str(error)
    image = sample["image"]
    unit_range = bool(image.min() >= 0) and bool(image.max() <= 1)
    return _Facts(folder.entries[index].image, image.shape[0], set(sample["target"].unique().tolist()), unit_range)


def _one_class_alone(config: DataConfig, labels: set[int]) -> list[str]:
    """What to say of masks that hold one class or void throughout: they are not read as they are meant."""
    table = config.table
    present = [name for label, name in enumerate(table.names) if label in labels]
    if len(present) > 1 or config.limit is not None:
        return []
    held = " and ".join([*map(repr, present), *(["void"] if table.ignore_index in labels else [])])
    return [
        f"all masks together hold only {held}: masks of 0 and 255 need `threshold: 128`, masks of 0 and 1 none, "
        "others `classes` with their values or colors"
    ]
