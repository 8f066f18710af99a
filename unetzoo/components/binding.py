"""Calling a component with checked options: parts, blocks, layers, losses and the networks of other libraries alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from typing_extensions import Unpack

from unetzoo.components.mistakes import Mistake, explain, shortened
from unetzoo.components.spec import Spec, plain, split
from unetzoo.errors import ConfigError, UnetzooError, nearest, nearest_option

Component = Callable[..., Any]
# What components and the libraries under them raise for options that they do not take.
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
T = TypeVar("T")


def is_block_option(name: str) -> bool:
    """Whether an option of this name refers to a block, which is built for the part that takes it."""
    return name == "block" or name.endswith("_block")


def accepts(component: Component, option: str) -> bool:
    """Whether `component` names `option` among its arguments."""
    return option in Signature.of(component).fields


@dataclass(frozen=True)
class Bound:
    """A component with checked options, ready to be called.

    Attributes:
        name: the registered name, for messages.
        component: the class or function.
        options: keyword arguments, converted to the annotated types.
        source: distribution that registered the component; empty where that does not matter.
    """

    name: str
    component: Component
    options: dict[str, Any]
    source: str = ""

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Call the component; what it raises for its options becomes a `ConfigError` that names it."""
        try:
            return self.component(*args, **given, **self.options)
        except ConfigError as error:
            raise ConfigError(f"{self.name!r} cannot be built: {error}") from error
        except UnetzooError:
            raise
        except REFUSALS as error:
            raise _refused(repr(self.name), self.options, error) from error

    @property
    def factory(self) -> Component:
        """The component with its options set, for parts that call it with further arguments."""
        return partial(self.component, **self.options) if self.options else self.component


def bind(
    component: Component,
    options: Mapping[str, Any],
    *,
    name: str = "",
    given: Collection[str] = (),
    source: str = "",
    of: str | None = None,
    foreign: bool = False,
) -> tuple[Bound, list[Mistake]]:
    """Check options against a component's signature; return it with its options, and every mistake in them.

    Args:
        component: a class or function; annotations are checked, and values are converted to them.
        options: keyword arguments by name.
        name: what messages call the component; default: its own name.
        given: arguments that the caller of the component supplies, which cannot be options.
        source: distribution that registered the component.
        of: what messages about single options call the component; empty where they follow its name anyway.
        foreign: check names alone, and strictly: annotations of other libraries are not to be relied on, and their
            `**kwargs` swallow misspelled options.
    """
    signature = Signature.of(component)
    own = name_of_component(component)
    suffix = f" of {own}" if of is None else of
    mistakes = [
        Mistake((str(key),), f"expected text as a key{suffix}, got {key!r}")
        for key in options
        if not isinstance(key, str)
    ]
    options = {key: value for key, value in options.items() if isinstance(key, str)}
    known = [key for key in signature.fields if key not in given]
    mistakes += [
        Mistake((key,), f"set by the model itself; leave it out of the options{suffix}")
        for key in options
        if key in given
    ]
    if foreign or not signature.open_ended:
        listed = ", ".join(known) or "none"
        mistakes += [
            Mistake((key,), f"unknown option{suffix}{nearest_option(key, known)} (options: {listed})")
            for key in options
            if key not in known and key not in given
        ]
    checked = {key: plain(value) for key, value in options.items()}
    if foreign:
        return Bound(name or own, component, checked, source), mistakes
    try:
        values = signature.model(frozenset(given)).model_validate(
            {key: checked[key] for key in known if key in checked}
        )
        checked.update({key: getattr(values, key) for key in known if key in checked})
    except ValidationError as error:
        mistakes += [_mistake(problem, own) for problem in error.errors()]
    return Bound(name or own, component, checked, source), mistakes


def call(
    component: Component, options: Mapping[str, Any], *args: Any, name: str, foreign: bool = False, **given: Any
) -> Any:
    """Call a component that is no part of a config with checked options.

    What the component itself refuses becomes a `ConfigError` too: a library's own words for a value out of range.
    """
    positional = list(Signature.of(component).fields)[: len(args)]
    bound, mistakes = bind(component, options, name=name, given=(*positional, *given), of="", foreign=foreign)
    if mistakes:
        listed = "; ".join(f"{'.'.join(mistake.path)}: {mistake.message}" for mistake in mistakes)
        raise ConfigError(f"{name}: {listed}")
    try:
        return bound.component(*args, **given, **bound.options)
    except UnetzooError:
        raise
    except REFUSALS as error:
        raise _refused(name, bound.options, error) from error


def _refused(what: str, options: Mapping[str, Any], error: Exception) -> ConfigError:
    listed = ", ".join(f"{key}={value!r}" for key, value in options.items() if not callable(value)) or "no options"
    return ConfigError(f"{what} cannot be built with {shortened(listed)}: {reason(error)}")


def reason(error: Exception) -> str:
    """The first line of what another library says; with the kind of error, where its words alone say little.

    >>> reason(KeyError("nope"))
    "KeyError: 'nope'"
    """
    line = (str(error).splitlines() or [""])[0]
    telling = line and not isinstance(error, LookupError | AttributeError)
    return line if telling else f"{type(error).__name__}: {line}".removesuffix(": ")


class Table(Generic[T]):
    """Layers, losses or whatever else goes by name within one place: `NORMS.make("group", 64, ndim=2)`.

    Args:
        what: what the entries are, for messages: "normalization".
        entries: by name, the class or function that is called.
    """

    def __init__(self, what: str, entries: Mapping[str, Callable[..., T]]) -> None:
        self.what = what
        self.entries = dict(entries)

    def __iter__(self) -> Iterable[str]:
        return iter(self.entries)

    def find(self, spec: Spec) -> tuple[str, Callable[..., T], dict[str, Any]]:
        """Return name, entry and options of a spec; `ConfigError` if the name is unknown."""
        name, options = split(spec)
        if not isinstance(name, str) or name not in self.entries:
            choices = sorted(self.entries)
            raise ConfigError(
                f"unknown {self.what} {name!r}: expected one of {', '.join(choices)}{nearest(str(name), choices)}"
            )
        return name, self.entries[name], options

    def make(self, spec: Spec, *args: Any, **given: Any) -> T:
        """Call the entry that a spec names, with its options checked; raises `ConfigError` for what does not fit."""
        name, entry, options = self.find(spec)
        return call(entry, options, *args, name=f"{self.what} {name!r}", **given)


def name_of_component(component: Component) -> str:
    """Return the name of a class or function, also of a partial one."""
    component = getattr(component, "func", component)
    return getattr(component, "__name__", type(component).__name__)


def _mistake(problem: Any, own: str) -> Mistake:
    path = tuple(str(step) for step in problem["loc"])
    if problem["type"] == "missing":
        return Mistake(path[:1], f"missing: {own} needs it")
    # Behind the option's name come the members of a union, which nobody wrote.
    written = [step for step in path[1:] if step.isdigit()]
    return Mistake((path[0], *written), explain(problem))


class Signature:
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
                    self.fields.update(
                        {key: (value, None) for key, value in get_type_hints(options, include_extras=True).items()}
                    )
                else:
                    self.open_ended = True
            elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                default = ... if parameter.default is inspect.Parameter.empty else parameter.default
                self.fields[name] = (Any if is_block_option(name) else hint, default)

    @staticmethod
    def of(component: Component) -> Signature:
        """The signature; those of classes and functions are read once, since a network asks for each many times."""
        lasting = inspect.isclass(component) or inspect.isfunction(component)
        return _signature(component) if lasting else Signature(component)

    def model(self, given: frozenset[str]) -> type[BaseModel]:
        """What validates the options, without the arguments that the caller supplies."""
        if given not in self._models:
            self._models[given] = _options_model({n: field for n, field in self.fields.items() if n not in given})
        return self._models[given]


_signature = lru_cache(maxsize=1024)(Signature)


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
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError):
        # A name that its module imports for type checkers alone: the option stays unchecked, not refused.
        return {}
