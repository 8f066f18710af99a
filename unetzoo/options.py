"""Checking the options of a component against its signature before it is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from typing_extensions import Unpack

from unetzoo.errors import nearest

Component = Callable[..., object]


def is_block_option(name: str) -> bool:
    """Whether an option of this name refers to a block, which is built for the part that takes it."""
    return name == "block" or name.endswith("_block")


def accepts(component: Component, option: str) -> bool:
    """Whether `component` names `option` among its arguments."""
    return option in _Signature.of(component).fields


def check_options(
    component: Component, options: Mapping[str, Any], given: Iterable[str]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the options, converted to the annotated types, and the mistakes: pairs of option and message.

    `given` names the arguments that the caller of the component supplies itself.
    """
    signature = _Signature.of(component)
    supplied = frozenset(given)
    mistakes = [
        (name, f"set by the model itself; leave it out of the options of {_name(component)}")
        for name in options
        if name in supplied
    ]
    known = [name for name in signature.fields if name not in supplied]
    if not signature.open_ended:
        mistakes += [
            (
                name,
                f"unknown option of {_name(component)}{nearest(name, known)} (options: {', '.join(known) or 'none'})",
            )
            for name in options
            if name not in known and name not in supplied
        ]
    checked = dict(options)
    try:
        values = signature.model(supplied).model_validate({name: options[name] for name in known if name in options})
        checked.update({name: getattr(values, name) for name in known if name in options})
    except ValidationError as error:
        mistakes += [
            (".".join(str(step) for step in problem["loc"]), f"{problem['msg'].lower()}, got {problem['input']!r}")
            if problem["type"] != "missing"
            else (str(problem["loc"][0]), f"missing: {_name(component)} needs it")
            for problem in error.errors()
        ]
    return checked, mistakes


def _name(component: Component) -> str:
    return getattr(component, "__name__", type(component).__name__)


class _Signature:
    """The keyword arguments of a component: `fields` of (type, default), and whether it takes any others."""

    def __init__(self, component: Component) -> None:
        hints = _hints(component)
        self.fields: dict[str, tuple[Any, Any]] = {}
        self.open_ended = False
        self._models: dict[frozenset[str], type[BaseModel]] = {}
        for name, parameter in inspect.signature(component).parameters.items():
            hint = hints.get(name, Any)
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                if get_origin(hint) is Unpack:
                    (options,) = get_args(hint)
                    self.fields.update({key: (value, None) for key, value in get_type_hints(options).items()})
                else:
                    self.open_ended = True
            elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                default = ... if parameter.default is inspect.Parameter.empty else parameter.default
                self.fields[name] = (Any if is_block_option(name) else hint, default)

    @staticmethod
    def of(component: Component) -> _Signature:
        """The signature; those of classes and functions are read once, since a network asks for each many times."""
        lasting = inspect.isclass(component) or inspect.isfunction(component)
        return _signature(component) if lasting else _Signature(component)

    def model(self, supplied: frozenset[str]) -> type[BaseModel]:
        """What validates the options, without the arguments that the caller supplies."""
        if supplied not in self._models:
            self._models[supplied] = _options_model({n: spec for n, spec in self.fields.items() if n not in supplied})
        return self._models[supplied]


_signature = lru_cache(maxsize=1024)(_Signature)


def _options_model(fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    settings = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())
    try:
        return create_model("Options", __config__=settings, **fields)  # type: ignore[call-overload]
    except (PydanticUserError, NameError):
        untyped = {name: (Any, default) for name, (_, default) in fields.items()}
        return create_model("Options", __config__=settings, **untyped)  # type: ignore[call-overload]


def _hints(component: Component) -> dict[str, Any]:
    target = component.__init__ if inspect.isclass(component) else component
    try:
        return get_type_hints(target)
    except (NameError, TypeError):
        # A name that its module imports for type checkers alone: the option stays unchecked, not refused.
        return {}
