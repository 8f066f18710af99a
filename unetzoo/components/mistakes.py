"""Mistakes in configs, recipes and data descriptions: collected and listed all at once, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from unetzoo.errors import ConfigError, nearest, nearest_option

KeyPath = tuple[str, ...]

# What pydantic's kinds of error mean, with the figures of their context.
_EXPECTED = {
    "missing": "missing: a value is required",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected text",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "string_too_short": "expected text that is not empty",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "iterable_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dataclass_type": "expected a mapping",
    "path_type": "expected a path",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "greater_than": "expected a number above {gt}",
    "greater_than_equal": "expected a number of at least {ge}",
    "less_than": "expected a number below {lt}",
    "less_than_equal": "expected a number of at most {le}",
    "too_short": "expected at least {min_length} values",
    "too_long": "expected at most {max_length} values",
    "is_instance_of": "expected an instance of {class}",
    "callable_type": "expected a function or class",
    "none_required": "expected no value",
    "union_tag_not_found": "missing: name which one of its kinds is meant",
    "invalid_key": "expected text as a key",
}


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a config: where, and what was expected."""

    path: KeyPath
    message: str


def collected(what: str, mistakes: Iterable[Mistake], where: Mapping[KeyPath, str] | None = None) -> ConfigError:
    """Return the error that lists all mistakes, each with its key and, where it is known, file and line.

    Args:
        what: what holds the mistakes, for the first line: `the config of 'unet'`.
        mistakes: at least one.
        where: places of keys, `file.yaml:3`; a mistake is placed by the longest of its paths that is known.
    """
    lines = [f"{_place(mistake.path, where or {})}{_joined(mistake)}" for mistake in mistakes]
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return ConfigError(f"{count} in {what}:\n  " + "\n  ".join(lines))


def mistakes_in(error: ValidationError, model: type[BaseModel], data: object) -> list[Mistake]:
    """Return what pydantic found wrong with `data` for `model`, in our words and with the keys as they are written.

    Of a union, only the member that is meant is spoken of; where that is unclear, one line says what all accept.
    """
    problems = [problem for problem in error.errors() if _is_meant(model, problem["loc"], data)]
    # Pydantic reports what each member of a union finds wrong; the member with the fewest problems is meant.
    counts = Counter(branch for problem in problems for branch in _branches(problem, data))
    found: dict[KeyPath, list[str]] = {}
    for problem in problems:
        path = _written(problem, data)
        if any(_is_outdone(branch, counts) for branch in _branches(problem, data)):
            continue
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{nearest_option(path[-1], _known_keys(model, path[:-1], data))}"
        else:
            message = explain(problem)
        found.setdefault(path, []).append(message)
    return [Mistake(path, _alternatives(messages)) for path, messages in found.items()]


def explain(problem: Any) -> str:
    """Return one of pydantic's problems in our words, with the value that came."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return _EXPECTED[kind]
    if kind == "union_tag_invalid":
        tags = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        return f"expected one of {', '.join(tags)}, got {context['tag']!r}{nearest(context['tag'], tags)}"
    expected = _EXPECTED.get(kind, "expected another kind of value").format_map({**context})
    return f"{expected}, got {shortened(repr(problem['input']))}"


def shortened(text: str) -> str:
    """Return the text, cut where it is longer than a message has room for."""
    return text if len(text) <= 200 else f"{text[:197]}..."


def _alternatives(messages: list[str]) -> str:
    """One message for several members of a union that all refuse one value."""
    unique = list(dict.fromkeys(messages))
    expected = [message.partition(", got ") for message in unique if message.startswith("expected ")]
    if len(expected) < 2 or len(expected) < len(unique):
        return unique[0] if len(unique) == 1 else "; ".join(unique)
    kinds = list(dict.fromkeys(before.removeprefix("expected ") for before, _, _ in expected))
    return f"expected {' or '.join(kinds)}, got {expected[0][2]}"


def _joined(mistake: Mistake) -> str:
    return f"{'.'.join(mistake.path)}: {mistake.message}" if mistake.path else mistake.message


def _place(path: KeyPath, where: Mapping[KeyPath, str]) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in where:
            return f"{where[path[:length]]}: "
    return ""


def _written(problem: Any, data: object) -> KeyPath:
    """The path of keys in the data; pydantic's holds the names of unions' members too."""
    path: list[str] = []
    *outer, last = problem["loc"] or ("",)
    for step in outer:
        if _holds(data, step):
            path.append(str(step))
            data = data[step]  # type: ignore[index]
    if _holds(data, last) or problem["type"] == "missing":
        path.append(str(last))
    return tuple(path)


_Branch = tuple[KeyPath, str, bool]


def _branches(problem: Any, data: object) -> list[_Branch]:
    """The unions on the way: the path of each, the member that speaks, and whether of something inside."""
    whole, path, found = _written(problem, data), [], []
    for step in problem["loc"]:
        if _holds(data, step):
            path.append(str(step))
            data = data[step]  # type: ignore[index]
        else:
            found.append((tuple(path), str(step), len(whole) > len(path)))
    return found


def _is_outdone(branch: _Branch, counts: Mapping[_Branch, int]) -> bool:
    """Whether another member of the union speaks of something inside, and of less."""
    inside = [count for (path, _, deep), count in counts.items() if path == branch[0] and deep]
    return bool(inside) and (not branch[2] or counts[branch] > min(inside))


def _holds(data: object, step: object) -> bool:
    if isinstance(data, Mapping):
        return step in data
    return isinstance(data, list | tuple) and isinstance(step, int) and step < len(data)


def _is_meant(model: type[BaseModel], location: tuple[int | str, ...], data: object) -> bool:
    """Whether every member of a union on the way is the one that the data names."""
    models = {model}
    for step in location:
        if _holds(data, step):
            models = {inner for each in models for inner in _models_of(each, step)}
            data = data[step]  # type: ignore[index]
        elif any(each.__name__ == step and not _may_be(each, data) for each in models):
            return False
    return True


def _known_keys(model: type[BaseModel], path: KeyPath, data: object) -> set[str]:
    models = {model}
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
        models = {inner for each in models for inner in _models_of(each, step)}
        models = {each for each in models if _may_be(each, data)}
    return {name for each in models for name in each.model_fields}


def _may_be(model: type[BaseModel], data: object) -> bool:
    """Whether a member of a union is the one that the data names."""
    name = model.model_fields.get("name")
    if name is None or get_origin(name.annotation) is not Literal:
        return True
    given = data.get("name", name.default) if isinstance(data, Mapping) else data
    return given in get_args(name.annotation)


def _models_of(model: type[BaseModel], key: object) -> Iterator[type[BaseModel]]:
    field = model.model_fields.get(str(key))
    if field is not None:
        yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from _models_in(part)
