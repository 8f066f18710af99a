"""Global state of the process that a network must leave alone: captured, compared and put back."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.modules import module as nn_module

cudnn, cuda_matmul = torch.backends.cudnn, torch.backends.cuda.matmul
MIXED = "older and newer settings contradict each other"


class Flag(NamedTuple):
    """One piece of global state: how it is read, and how it is put back."""

    get: Callable[[], Any]
    set: Callable[[Any], object]


def _attribute(owner: object, name: str) -> Flag:
    return Flag(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _list(owner: object, name: str) -> Flag:
    # The list is looked up each time: whoever replaces it, as `warnings.catch_warnings` does, replaces it for all.
    return Flag(lambda: tuple(getattr(owner, name)), lambda kept: getattr(owner, name).__setitem__(slice(None), kept))


def _dict(values: Any) -> Flag:
    return Flag(lambda: dict(values), lambda kept: (values.clear(), values.update(kept)))


def _signals() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _set_signals(handlers: dict[signal.Signals, Any]) -> None:
    # Handlers are set in the main thread alone, and one that was not installed by Python reads as None.
    for number, handler in handlers.items():
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


def _default_device() -> torch.device:
    try:
        return torch.get_default_device()
    except AttributeError:  # torch 2.6, once a default has been taken back
        return torch.device("cpu")


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _configure(config: Any, kept: dict[str, Any]) -> None:
    now = config.get_config_copy()
    for name in kept:
        if kept[name] != now[name]:
            setattr(config, name, kept[name])


def _older(get: Callable[[], Any], put: Callable[[Any], object]) -> Flag:
    """A setting that torch 2.9 refuses to read while it contradicts the newer ones, which then tell more."""

    def read() -> Any:
        try:
            return get()
        except RuntimeError:
            return MIXED

    return Flag(read, lambda value: None if value == MIXED else put(value))


def _precision() -> dict[str, Flag]:
    """How float32 is multiplied: TF32 and the like.

    torch 2.9 has a setting for each backend, and keeps the three older ones beside. Writing an older one changes newer
    ones, so the older are put back first.
    """
    flags = {
        "torch.get_float32_matmul_precision()": _older(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        ),
        "torch.backends.cuda.matmul.allow_tf32": _older(*_attribute(cuda_matmul, "allow_tf32")),
        "torch.backends.cudnn.allow_tf32": _older(*_attribute(cudnn, "allow_tf32")),
    }
    if hasattr(torch.backends, "fp32_precision"):
        mkldnn = torch.backends.mkldnn
        owners = {"torch.backends": torch.backends, "torch.backends.cuda.matmul": cuda_matmul}
        owners |= {f"torch.backends.cudnn.{part}": getattr(cudnn, part) for part in ("conv", "rnn")}
        owners |= {f"torch.backends.mkldnn.{part}": getattr(mkldnn, part) for part in ("conv", "rnn", "matmul")}
        flags |= {f"{name}.fp32_precision": _attribute(owner, "fp32_precision") for name, owner in owners.items()}
    return flags


def set_tf32(enabled: bool) -> None:
    """Turn TF32 on or off for CUDA's products and convolutions."""
    cuda_matmul.allow_tf32 = cudnn.allow_tf32 = enabled


def flip_tf32() -> None:
    """Turn TF32 on where it is off for CUDA's products, and off otherwise."""
    set_tf32(FLAGS["torch.backends.cuda.matmul.allow_tf32"].get() is False)


# By the name that a user would look for.
FLAGS: dict[str, Flag] = {
    "torch.get_default_dtype()": Flag(torch.get_default_dtype, torch.set_default_dtype),
    "torch.get_default_device()": Flag(_default_device, _set_default_device),
    "torch.is_grad_enabled()": Flag(torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.is_autocast_enabled('cpu')": Flag(
        lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)
    ),
    "torch.is_autocast_enabled('cuda')": Flag(
        lambda: torch.is_autocast_enabled("cuda"), lambda on: torch.set_autocast_enabled("cuda", on)
    ),
    "torch.get_num_threads()": Flag(torch.get_num_threads, torch.set_num_threads),
    "torch.backends.cudnn.enabled": _attribute(cudnn, "enabled"),
    "torch.backends.cudnn.benchmark": _attribute(cudnn, "benchmark"),
    "torch.backends.cudnn.deterministic": _attribute(cudnn, "deterministic"),
    **_precision(),
    "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": _attribute(
        cuda_matmul, "allow_fp16_reduced_precision_reduction"
    ),
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": _attribute(
        cuda_matmul, "allow_bf16_reduced_precision_reduction"
    ),
    "torch.backends.cuda.flash_sdp_enabled()": Flag(
        torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp
    ),
    "torch.backends.cuda.mem_efficient_sdp_enabled()": Flag(
        torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp
    ),
    "torch.backends.cuda.math_sdp_enabled()": Flag(
        torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp
    ),
    "torch.backends.mkldnn.enabled": Flag(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    "torch.are_deterministic_algorithms_enabled()": Flag(
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda kept: torch.use_deterministic_algorithms(kept[0], warn_only=kept[1]),
    ),
    "torch.is_anomaly_enabled()": Flag(torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "torch.set_printoptions": _dict(vars(torch._tensor_str.PRINT_OPTS)),
    "forward hooks of every module": _dict(nn_module._global_forward_hooks),
    "forward pre-hooks of every module": _dict(nn_module._global_forward_pre_hooks),
    "backward hooks of every module": _dict(nn_module._global_backward_hooks),
    "sys.getrecursionlimit()": Flag(sys.getrecursionlimit, sys.setrecursionlimit),
    "sys.excepthook": _attribute(sys, "excepthook"),
    "sys.path": _list(sys, "path"),
    "gc.isenabled()": Flag(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "signal handlers": Flag(_signals, _set_signals),
    "warnings.filters": _list(warnings, "filters"),
    "warnings.showwarning": _attribute(warnings, "showwarning"),
    "root logger level": Flag(lambda: logging.getLogger().level, logging.getLogger().setLevel),
    "root logger handlers": _list(logging.getLogger(), "handlers"),
    "logging.disable": Flag(lambda: logging.root.manager.disable, logging.disable),
    "os.environ": _dict(os.environ),
    "working directory": Flag(os.getcwd, os.chdir),
}


def _flags() -> dict[str, Flag]:
    """The flags of what is imported."""
    numpy, dynamo = sys.modules.get("numpy"), sys.modules.get("torch._dynamo.config")
    found = dict(FLAGS)
    if numpy is not None:
        found["numpy.geterr()"] = Flag(numpy.geterr, lambda kept: numpy.seterr(**kept))
    if dynamo is not None:
        found["torch._dynamo.config"] = Flag(dynamo.get_config_copy, lambda kept: _configure(dynamo, kept))
    return found


@dataclass(frozen=True)
class GlobalState:
    """A snapshot of the process's flags and random generators."""

    flags: dict[str, object]
    torch_rng: torch.Tensor
    cuda_rng: tuple[torch.Tensor, ...]
    python_rng: object
    numpy_rng: object

    @classmethod
    def capture(cls) -> GlobalState:
        """The state as it is now."""
        numpy = sys.modules.get("numpy")
        return cls(
            {name: flag.get() for name, flag in _flags().items()},
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
            random.getstate(),
            numpy.random.get_state() if numpy else None,
        )

    def changes(self) -> list[str]:
        """The flags that differ now, as 'name: was -> is'."""
        current = _flags()
        now = {name: current[name].get() for name in self.flags}
        return [f"{name}: {_short(was, now[name])}" for name, was in self.flags.items() if now[name] != was]

    def generators(self) -> dict[str, object]:
        """The state of each random generator."""
        found: dict[str, object] = {"torch (CPU)": self.torch_rng.tolist()}
        found |= {f"torch (cuda:{i})": state.tolist() for i, state in enumerate(self.cuda_rng)}
        found["python's random"] = self.python_rng
        return found if self.numpy_rng is None else found | {"numpy.random": repr(self.numpy_rng)}

    def rng_changes(self) -> list[str]:
        """The random generators that have moved since."""
        now = GlobalState.capture().generators()
        return [name for name, state in self.generators().items() if now[name] != state]

    def same_generators(self, other: GlobalState) -> list[str]:
        """The random generators that are in the same state as in another snapshot."""
        theirs = other.generators()
        return [name for name, state in self.generators().items() if theirs.get(name) == state]

    def restore(self) -> None:
        """Put flags and random generators back."""
        flags = _flags()
        for name, value in self.flags.items():
            # Some are costly or loud to set: they are touched only where there is need.
            if flags[name].get() != value:
                flags[name].set(value)
        torch.set_rng_state(self.torch_rng)
        if self.cuda_rng:
            torch.cuda.set_rng_state_all(list(self.cuda_rng))
        random.setstate(self.python_rng)  # type: ignore[arg-type]
        if self.numpy_rng is not None:
            sys.modules["numpy"].random.set_state(self.numpy_rng)


def _short(was: object, now: object) -> str:
    """What was and what is; of mappings the entries that differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        keys = [key for key in was | now if was.get(key) != now.get(key)]
        was, now = ({key: side.get(key) for key in keys} for side in (was, now))
    return " -> ".join(text if len(text) <= 120 else f"{text[:117]}..." for text in map(repr, (was, now)))


def seed_generators(seed: int) -> None:
    """Seed every global random generator that is there."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


@contextlib.contextmanager
def sandbox(seed: int) -> Iterator[None]:
    """Run the body from seeded random generators, with gradients on, and put every global back afterwards."""
    state = GlobalState.capture()
    try:
        seed_generators(seed)
        torch.set_grad_enabled(True)
        yield
    finally:
        state.restore()
