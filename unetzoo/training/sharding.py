"""A network whose parameters are shared out among the processes (FSDP): its whole state, gathered and given back.

All processes call these functions together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer

EVERYWHERE = StateDictOptions(full_state_dict=True)
ON_THE_FIRST = StateDictOptions(full_state_dict=True, cpu_offload=True)


def gathered_state(network: nn.Module, average: nn.Module | None, optimizer: Optimizer) -> dict[str, object]:
    """The state of all three as if nothing was shared out, on the CPU; empty but in the first process."""
    weights, moments = get_state_dict(network, optimizer, options=ON_THE_FIRST)
    averages = None if average is None else get_model_state_dict(average, options=ON_THE_FIRST)
    return {"model": weights, "average": averages, "optimizer": moments}


def load_gathered(
    state: Mapping[str, Any], network: nn.Module, average: nn.Module | None, optimizer: Optimizer
) -> None:
    """Share out the state that `gathered_state` gave the first process; every process brings the whole of it."""
    set_state_dict(
        network, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=EVERYWHERE
    )
    if average is not None:
        set_model_state_dict(average, state["average"], options=EVERYWHERE)


def fill(whole: nn.Module, sharded: nn.Module) -> None:
    """Copy the weights and buffers of a sharded network into one that this process holds alone."""
    whole.load_state_dict(get_model_state_dict(sharded, options=EVERYWHERE))
