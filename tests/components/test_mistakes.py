"""Mistakes are told in the project's words, with the keys as they were written."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unetzoo.components.mistakes import Mistake, collected, mistakes_in


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Literal["step"] = "step"
    every: int = Field(1, ge=1)


class Cosine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Literal["cosine"] = "cosine"
    lowest: float = 0.0


class MeanStd(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(1, ge=1, strict=True)
    rate: float = 0.1
    shuffle: bool = True
    title: str = ""
    schedule: Step | Cosine = Step()
    normalize: Literal["image", "none"] | MeanStd = "image"
    crop: int | list[int] = 1


def found(data: dict[str, object]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(data)
    return {".".join(mistake.path): mistake.message for mistake in mistakes_in(caught.value, Everything, data)}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"epochs": "many"}, {"epochs": "expected a whole number, got 'many'"}),
        ({"epochs": 0}, {"epochs": "expected a number of at least 1, got 0"}),
        ({"rate": "fast"}, {"rate": "expected a number, got 'fast'"}),
        ({"shuffle": "perhaps"}, {"shuffle": "expected true or false, got 'perhaps'"}),
        ({"title": 3}, {"title": "expected text, got 3"}),
        ({"epoch": 3}, {"epoch": "unknown key; did you mean 'epochs'?"}),
        ({"normalize": "encoder"}, {"normalize": "expected 'image' or 'none' or a mapping, got 'encoder'"}),
        ({"normalize": {"mean": [0.5]}}, {"normalize.std": "missing: a value is required"}),
        ({"normalize": {"mean": [1], "std": [0]}}, {"normalize.std.0": "expected a number above 0.0, got 0"}),
        ({"crop": "wide"}, {"crop": "expected a whole number or a list, got 'wide'"}),
        ({"crop": [1, "x"]}, {"crop.1": "expected a whole number, got 'x'"}),
        ({"schedule": {"name": "cosine", "lowst": 1}}, {"schedule.lowst": "unknown key; did you mean 'lowest'?"}),
        ({"schedule": {"name": "step", "every": 0}}, {"schedule.every": "expected a number of at least 1, got 0"}),
        (
            {"epochs": 0.5, "rate": None},
            {"epochs": "expected a whole number, got 0.5", "rate": "expected a number, got None"},
        ),
    ],
)
def test_each_kind_of_mistake_has_one_plain_line(data: dict[str, object], expected: dict[str, str]) -> None:
    assert found(data) == expected


def test_the_error_counts_the_mistakes_and_places_each_by_the_nearest_key_that_is_known() -> None:
    mistakes = [Mistake(("a", "b"), "expected x"), Mistake(("c",), "unknown key")]
    lines = str(collected("the config of 'mine'", mistakes, {("a",): "mine.yaml:3"})).splitlines()
    assert lines == ["2 mistakes in the config of 'mine':", "  mine.yaml:3: a.b: expected x", "  c: unknown key"]


def test_a_long_value_is_shortened() -> None:
    (message,) = found({"rate": "x" * 1000}).values()
    assert len(message) < 250
