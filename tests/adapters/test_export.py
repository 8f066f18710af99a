"""Networks of other libraries behind the contract, compiled and exported."""

from __future__ import annotations

import pytest
import torch

import unetzoo

# One of each adapter, small, and at a size that needs padding.
MODELS = {
    "timm": ("unet", {"encoder": "timm/test_resnet"}),
    "smp": ("smp/unet", {"encoder": "timm/test_resnet"}),
    "monai": ("monai/segresnet", {"init_filters": 8}),
    "torchvision": ("torchvision/lraspp_mobilenet_v3_large", {}),
}


@pytest.fixture
def model(name: str) -> unetzoo.DenseModel:
    torch.manual_seed(0)
    component, options = MODELS[name]
    return unetzoo.create(component, num_classes=2, **options).eval()


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(1, 3, 61, 75)


@pytest.mark.parametrize("name", MODELS)
def test_the_model_compiles_to_one_graph(model: unetzoo.DenseModel, x: torch.Tensor) -> None:
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(x)
        torch.testing.assert_close(compiled, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_program_gives_the_same_logits(model: unetzoo.DenseModel, x: torch.Tensor) -> None:
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
