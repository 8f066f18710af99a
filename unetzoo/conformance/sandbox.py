"""Global state of the process that a network must leave alone: captured, compared and put back."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch


def _flags() -> dict[str, object]:
    """Everything that can be read and compared, by the name a user would look for."""
    return {
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.get_default_device()": torch.get_default_device(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.is_autocast_enabled('cpu')": torch.is_autocast_enabled("cpu"),
        "torch.is_autocast_enabled('cuda')": torch.is_autocast_enabled("cuda"),
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.backends.cudnn.enabled": torch.backends.cudnn.enabled,
        "torch.backends.cudnn.benchmark": torch.backends.cudnn.benchmark,
        "torch.backends.cudnn.deterministic": torch.backends.cudnn.deterministic,
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "warn-only deterministic algorithms": torch.is_deterministic_algorithms_warn_only_enabled(),
        "torch.is_anomaly_enabled()": torch.is_anomaly_enabled(),
        "sys.getrecursionlimit()": sys.getrecursionlimit(),
        "warnings.filters": tuple(warnings.filters),
        "warnings.showwarning": warnings.showwarning,
        "root logger level": logging.getLogger().level,
        "root logger handlers": tuple(logging.getLogger().handlers),
        "logging.disable": logging.root.manager.disable,
        "os.environ": dict(os.environ),
        "working directory": os.getcwd(),
        "sys.path": tuple(sys.path),
    }


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
            _flags(),
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
            random.getstate(),
            numpy.random.get_state() if numpy else None,
        )

    def changes(self) -> list[str]:
        """The flags that differ now, as 'name: was -> is'."""
        now = _flags()
        return [f"{name}: {_short(was)} -> {_short(now[name])}" for name, was in self.flags.items() if now[name] != was]

    def rng_changes(self) -> list[str]:
        """The random generators that have moved since."""
        now = GlobalState.capture()
        moved = [] if torch.equal(self.torch_rng, now.torch_rng) else ["torch (CPU)"]
        pairs = zip(self.cuda_rng, now.cuda_rng, strict=False)
        moved += [f"torch (cuda:{i})" for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)]
        moved += [] if self.python_rng == now.python_rng else ["python's random"]
        return moved + ([] if repr(self.numpy_rng) == repr(now.numpy_rng) else ["numpy.random"])

    def restore(self) -> None:
        """Put flags and random generators back."""
        f = self.flags
        torch.set_default_dtype(f["torch.get_default_dtype()"])  # type: ignore[arg-type]
        device = f["torch.get_default_device()"]
        if torch.get_default_device() != device:
            torch.set_default_device(None if device == torch.device("cpu") else device)  # type: ignore[arg-type]
        torch.set_grad_enabled(bool(f["torch.is_grad_enabled()"]))
        torch.set_autocast_enabled("cpu", bool(f["torch.is_autocast_enabled('cpu')"]))
        torch.set_autocast_enabled("cuda", bool(f["torch.is_autocast_enabled('cuda')"]))
        if torch.get_num_threads() != f["torch.get_num_threads()"]:
            torch.set_num_threads(f["torch.get_num_threads()"])  # type: ignore[arg-type]
        torch.set_float32_matmul_precision(f["torch.get_float32_matmul_precision()"])  # type: ignore[arg-type]
        torch.backends.cudnn.enabled = bool(f["torch.backends.cudnn.enabled"])
        torch.backends.cudnn.benchmark = bool(f["torch.backends.cudnn.benchmark"])
        torch.backends.cudnn.deterministic = bool(f["torch.backends.cudnn.deterministic"])
        torch.backends.cudnn.allow_tf32 = bool(f["torch.backends.cudnn.allow_tf32"])
        torch.backends.cuda.matmul.allow_tf32 = bool(f["torch.backends.cuda.matmul.allow_tf32"])
        torch.use_deterministic_algorithms(
            bool(f["torch.are_deterministic_algorithms_enabled()"]),
            warn_only=bool(f["warn-only deterministic algorithms"]),
        )
        torch.set_anomaly_enabled(bool(f["torch.is_anomaly_enabled()"]))
        sys.setrecursionlimit(f["sys.getrecursionlimit()"])  # type: ignore[arg-type]
        warnings.filters[:] = f["warnings.filters"]  # type: ignore[index]
        warnings.showwarning = f["warnings.showwarning"]  # type: ignore[assignment]
        logging.getLogger().setLevel(f["root logger level"])  # type: ignore[arg-type]
        logging.getLogger().handlers[:] = cast("tuple[logging.Handler, ...]", f["root logger handlers"])
        logging.disable(f["logging.disable"])  # type: ignore[arg-type]
        environment: dict[str, str] = f["os.environ"]  # type: ignore[assignment]
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        os.chdir(str(f["working directory"]))
        sys.path[:] = cast("tuple[str, ...]", f["sys.path"])
        torch.set_rng_state(self.torch_rng)
        if self.cuda_rng:
            torch.cuda.set_rng_state_all(list(self.cuda_rng))
        random.setstate(self.python_rng)  # type: ignore[arg-type]
        if self.numpy_rng is not None:
            sys.modules["numpy"].random.set_state(self.numpy_rng)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


@contextlib.contextmanager
def sandbox(seed: int) -> Iterator[None]:
    """Run the body from seeded random generators, with gradients on, and put every global back afterwards."""
    state = GlobalState.capture()
    try:
        torch.manual_seed(seed)
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
        torch.set_grad_enabled(True)
        yield
    finally:
        state.restore()
