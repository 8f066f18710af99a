"""What a model keeps for the backward pass, and the gradients that come of it."""

from __future__ import annotations

import torch
from torch import nn

from unetzoo.components.parts import Checkpointable


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


def check_checkpointing(model: nn.Module, x: torch.Tensor, share: float) -> None:
    """Check that gradient checkpointing changes no gradient, keeps less than a share of the bytes and turns off."""
    assert isinstance(model, Checkpointable)
    expected, kept = gradients_and_kept_bytes(model, x)
    model.set_gradient_checkpointing(True)
    found, kept_less = gradients_and_kept_bytes(model, x)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
    assert kept_less < share * kept
    model.set_gradient_checkpointing(False)
    assert gradients_and_kept_bytes(model, x)[1] == kept
