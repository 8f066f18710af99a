"""Activation checkpointing as a property of a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class CheckpointedStage(nn.Module):
    """A module that can trade time for memory; parts build their levels from it.

    `set_gradient_checkpointing(True)` keeps only the stage's inputs during training (Chen et al., "Training deep
    nets with sublinear memory cost", 2016). Batch statistics are updated by the repeated forward pass as well.
    """

    gradient_checkpointing = False

    def set_gradient_checkpointing(self, enable: bool) -> None:
        """Turn checkpointing of this stage on or off."""
        self.gradient_checkpointing = enable

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the stage, checkpointed where gradients are recorded."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False)
        return super().__call__(*inputs)


def checkpointing(modules: Iterable[nn.Module]) -> AbstractContextManager[None]:
    """Within the context each of `modules`, of any class, keeps only its inputs as a `CheckpointedStage` does."""
    chosen = list(modules) if torch.is_grad_enabled() else []
    return _replaced_forwards(chosen) if chosen else nullcontext()  # which torch 2.6 can compile


@contextmanager
def _replaced_forwards(modules: Iterable[nn.Module]) -> Iterator[None]:
    own = {module: module.__dict__.get("forward") for module in modules}  # each once, however often it is listed
    for module in own:
        module.forward = partial(_checkpointed, module.forward)
    try:
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _checkpointed(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    # A list can be changed by the module that it is given to: a second pass would start from something else.
    if any(isinstance(given, (list, dict)) for given in (*inputs, *named.values())):
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, **named)
