"""What a model keeps for the backward pass, and the gradients that come of it."""

from __future__ import annotations

import torch
from torch import nn


def gradients_and_kept_bytes(model: nn.Module, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], int]:
    """The gradients of one training step, and the bytes of activations that its forward pass keeps."""
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    model.zero_grad()
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model(x)
        loss = sum(out.square().mean() for out in (outputs if isinstance(outputs, list) else [outputs]))
    size = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in weights)
    kept.clear()
    loss.backward()
    return {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }, size
