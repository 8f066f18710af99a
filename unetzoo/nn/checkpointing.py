"""Gradient checkpointing as a property of a stage: its activations are computed again in the backward pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Stage(nn.Module):
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
