"""One optimizer over a network's parts, each with its own learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from unetzoo.components.spec import named
from unetzoo.network import DenseModel


class AdamW(BaseModel):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="learning rate, which the schedule multiplies")
    weight_decay: float = Field(0.01, ge=0, description="of weights; biases and normalization are not decayed")
    betas: tuple[float, float] = (0.9, 0.999)


class SGD(BaseModel):
    """Stochastic gradient descent with momentum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd"]
    lr: float = Field(0.01, gt=0, description="learning rate, which the schedule multiplies")
    weight_decay: float = Field(1e-4, ge=0, description="of weights; biases and normalization are not decayed")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False


class Rates(BaseModel):
    """Factors on the learning rate of a network's parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: float = Field(1.0, ge=0)
    center: float = Field(1.0, ge=0)
    decoder: float = Field(1.0, ge=0)
    head: float = Field(1.0, ge=0)
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor for each layer from the encoder's end to its start")


def _named(value: object) -> object:
    given = named(value)
    return {"name": "adamw", **given} if isinstance(given, dict) else given


OptimizerConfig = Annotated[AdamW | SGD, Field(discriminator="name"), BeforeValidator(_named)]


def make_optimizer(config: AdamW | SGD, rates: Rates, model: DenseModel) -> torch.optim.Optimizer:
    """Return the optimizer over all parameters of `model`, in groups by part."""
    groups = model.param_groups(config.lr, weight_decay=config.weight_decay, **rates.model_dump())
    if isinstance(config, SGD):
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
