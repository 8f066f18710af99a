"""Follows a forward pass while it runs: the modules that are called, and the operations with their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

Look = Callable[[str, nn.Module, object, object], None]


@contextmanager
def watching(modules: Iterable[tuple[str, nn.Module]], look: Look) -> Iterator[None]:
    """Show `look` every call of the named modules in the `with` block: name, module, arguments and result."""
    handles = [module.register_forward_hook(partial(look, name)) for name, module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules without sub-modules, by name: the layers that compute."""
    return ((name, module) for name, module in network.named_modules() if not any(module.children()))


class ModuleTrace:
    """Follows the calls of a network's modules while its `with` block runs."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {id(module): name for name, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> ModuleTrace:
        for module in self._model.modules():
            self._handles.append(module.register_forward_pre_hook(self._enter))
            self._handles.append(module.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, module: nn.Module, _: object) -> None:
        self._running.append(module)

    def _leave(self, module: nn.Module, _: object, __: object) -> None:
        while self._running and self._running.pop() is not module:
            pass

    @property
    def path(self) -> str:
        """Dotted name of the innermost running module; empty for the network itself and outside of any forward."""
        return self._names[id(self._running[-1])] if self._running else ""

    @property
    def where(self) -> str:
        """The innermost running module, for a message."""
        return f"{self.path!r} ({type(self._running[-1]).__name__})" if self.path else "the network's own forward"


class Operations(TorchDispatchMode):
    """Shows `look` each of torch's operations that run in its `with` block: the arguments and the result."""

    def __init__(self, look: Callable[[object, tuple[Any, ...], object], None]) -> None:
        super().__init__()
        self._look = look

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        self._look(func, args, result)
        return result
