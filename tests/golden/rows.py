"""The rows of the catalog: each a network of the zoo, and how far its numbers are from its reference's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

import unetzoo
from tests.golden import detweights

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Deviation:
    """How far one output is from the golden array: the largest difference at the sampled points and the bound."""

    array: str
    points: float
    statistics: float
    atol: float


@dataclass(frozen=True)
class Row:
    """One row of `catalog.yaml`, whose head explains the modes."""

    model: str
    golden: str
    create: dict[str, Any] = field(hash=False)
    compare: tuple[str, ...]
    mode: str | None = None

    @property
    def id(self) -> str:
        """The name that pytest and the table show."""
        return f"{self.model}-{self.golden}" + (f"-{self.mode}" if self.mode else "")

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `make.py` wrote of the reference run."""
        with np.load(HERE / f"{self.golden}.npz") as file:
            return json.loads(file["record"].tobytes())

    def build(self) -> nn.Module:
        """Create the network with the golden weights, in the state that the mode asks for."""
        options = dict(self.create)
        if self.mode == "train_outputs_native":
            options["head"] = {"native_levels": True}
        model = unetzoo.create(self.model, **options)
        record = self.record
        state = detweights.state_dict(record["state_dict"], record["aliases"], gain=record["norm_gain"])
        unetzoo.load_checkpoint(model, state)
        model.eval()
        if self.mode and self.mode.startswith("train_outputs"):
            model.get_submodule("head").training = True  # itself alone: dropout inside stays off
        if self.mode == "batch_statistics":
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.train()
        return model

    def outputs(self, model: nn.Module) -> list[torch.Tensor]:
        """Run the model, where it is, on the golden input; the result is comparable with the arrays of `compare`."""
        x = detweights.image(self.record["input_shape"]) * self.record["input_scale"]
        x = x.to(next(model.parameters()).device)
        with torch.no_grad():
            outputs = model(x)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if self.mode == "log_softmax":
            return [output.log_softmax(1) for output in outputs]
        if self.mode == "train_outputs_sigmoid":
            return [output.sigmoid() for output in outputs]
        return outputs

    def deviations(self, outputs: Sequence[torch.Tensor]) -> list[Deviation]:
        """Compare the outputs with the golden arrays; ValueError where their number or a shape differs."""
        found = []
        with np.load(HERE / f"{self.golden}.npz") as file:
            for name, output in zip(self.compare, outputs, strict=True):
                expected = self.record["arrays"][name]
                if list(output.shape) != expected["shape"]:
                    raise ValueError(f"{name} has shape {list(output.shape)}; expected {expected['shape']}")
                array = output.cpu().numpy().astype(np.float64)
                points = np.abs(array.ravel()[file[f"{name}.index"]] - file[f"{name}.values"]).max()
                have = {"mean": array.mean(), "std": array.std(), "abs_max": np.abs(array).max()}
                statistics = max(abs(value - expected[key]) for key, value in have.items())
                found.append(Deviation(name, float(points), float(statistics), expected["atol"]))
        return found


def rows() -> list[Row]:
    """Read the catalog."""
    listed = yaml.safe_load((HERE / "catalog.yaml").read_text(encoding="utf-8"))
    return [Row(**{**row, "compare": tuple(row["compare"])}) for row in listed]
