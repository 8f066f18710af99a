"""Devices by name, checked before anything is put on them."""

from __future__ import annotations

import torch

from unetzoo.errors import ConfigError


def present(device: str | torch.device) -> torch.device:
    """Return the device; `ConfigError` if torch does not know it, or computes nothing on it here."""
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"unknown device {device!r}; expected cpu, cuda or cuda:1") from error
    if wanted.type == "meta":
        raise ConfigError("device 'meta' holds no values; expected cpu, cuda or cuda:1")
    there = torch.cuda.device_count()
    if wanted.type == "cuda" and (wanted.index or 0) >= there:
        raise ConfigError(f"device {str(device)!r} is not there: torch {torch.__version__} sees {there} CUDA devices")
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} is not there: {reason}; expected cpu, cuda or cuda:1") from error
    return wanted
