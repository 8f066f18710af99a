"""The authors' own U2-Net weights, where the data and the ONNX file that holds them are present.

`UNETZOO_DATA` names the data folder (with `saliency_u2net/`), `UNETZOO_U2NET_ONNX` the file `u2net.onnx` that several
background-removal packages distribute; its batch normalizations are folded into the convolutions.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import unetzoo
from unetzoo.network import DenseModel

DATA = os.environ.get("UNETZOO_DATA")
WEIGHTS = os.environ.get("UNETZOO_U2NET_ONNX")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="needs the data folder: set UNETZOO_DATA"),
    pytest.mark.skipif(not WEIGHTS, reason="needs the official weights: set UNETZOO_U2NET_ONNX to u2net.onnx"),
]

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def folder() -> Path:
    return Path(str(DATA)) / "saliency_u2net"


def network_input(rgb: np.ndarray) -> torch.Tensor:
    """Return (H, W, 3) bytes as the authors feed them: over their maximum, then standardized."""
    x = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)
    return ((x / x.max() - MEAN) / STD)[None]


@pytest.fixture(scope="module")
def model() -> DenseModel:
    """U2-Net with the official weights: folded convolutions, each before a normalization that changes nothing."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(WEIGHTS)).graph
    tensors = {item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy()) for item in graph.initializer}
    state: dict[str, torch.Tensor] = {}
    for row in json.loads((folder() / "u2net_onnx_to_module.json").read_text()):
        name, bias = row["module"], tensors[row["onnx_bias"]]
        state |= {f"{name}.weight": tensors[row["onnx_weight"]], f"{name}.bias": bias}
        if name.endswith("conv_s1"):
            norm = name.replace("conv_s1", "bn_s1")
            # A variance of one and this gain cancel the epsilon of the normalization.
            state |= {
                f"{norm}.weight": torch.full_like(bias, math.sqrt(1 + 1e-5)),
                f"{norm}.bias": torch.zeros_like(bias),
                f"{norm}.running_mean": torch.zeros_like(bias),
                f"{norm}.running_var": torch.ones_like(bias),
            }
    model = unetzoo.create("u2net")
    loaded = unetzoo.load_checkpoint(model, state)
    assert loaded.layout == "u-2-net"
    return model.eval()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket", "horse", "boat"])
def test_the_official_weights_give_the_recorded_saliency(model: DenseModel, name: str) -> None:
    recorded = np.load(folder() / "u2net_golden_320.npz")
    with torch.no_grad():
        saliency = model(network_input(recorded[f"{name}_rgb320"])).sigmoid()[0, 0]
    np.testing.assert_allclose(saliency.numpy(), recorded[f"{name}_d0"].astype(np.float32), rtol=0, atol=1e-2)


def test_the_masks_are_those_that_the_authors_published(model: DenseModel) -> None:
    image = pytest.importorskip("PIL.Image")
    overlaps = {}
    for path in sorted((folder() / "test_images").iterdir()):
        published = np.asarray(image.open(folder() / "u2net_results" / f"{path.stem}.png").convert("L")) >= 128
        photograph = image.open(path).convert("RGB")
        with torch.no_grad():
            logits = model(network_input(np.asarray(photograph.resize((320, 320), image.Resampling.BILINEAR))))
        saliency = logits.sigmoid()
        saliency = (saliency - saliency.min()) / (saliency.max() - saliency.min())
        full = torch.nn.functional.interpolate(saliency, size=published.shape, mode="bilinear")[0, 0].numpy() >= 0.5
        overlaps[path.stem] = float((full & published).sum() / (full | published).sum())
    assert overlaps
    assert min(overlaps.values()) >= 0.95, overlaps
