"""How the learning rate changes over a run: each schedule is a factor on the rate of every parameter group."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from unetzoo.components.spec import named

START = 0.01  # of the rate, where a warm-up begins


class Constant(BaseModel):
    """Constant rate after the warmup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["constant"] = "constant"
    warmup: float = Field(0, ge=0, description="epochs in which the rate rises in a line")

    def factor(self, epoch: float, progress: float) -> float:
        """The factor after `epoch` epochs; `progress` runs from 0 at the end of the warm-up to 1 at the run's end."""
        return 1.0


class Step(Constant):
    """The rate is multiplied by `drop` every so many epochs."""

    name: Literal["step"]  # type: ignore[assignment]
    every: float = Field(gt=0, description="epochs")
    drop: float = Field(0.1, gt=0, lt=1)

    def factor(self, epoch: float, progress: float) -> float:
        """Powers of `drop`."""
        return self.drop ** int(epoch / self.every)


class Cosine(Constant):
    """Half a cosine, down to `floor` (Loshchilov and Hutter 2017, eq. 5, without restarts)."""

    name: Literal["cosine"]  # type: ignore[assignment]
    floor: float = Field(0.0, ge=0, lt=1, description="factor at the end")

    def factor(self, epoch: float, progress: float) -> float:
        """From 1 to `floor`."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


class Poly(Constant):
    """A power of what is left of the run (DeepLab: Chen et al. 2017, section 4.1)."""

    name: Literal["poly"]  # type: ignore[assignment]
    power: float = Field(0.9, gt=0)

    def factor(self, epoch: float, progress: float) -> float:
        """From 1 to 0."""
        return (1 - progress) ** self.power


class OneCycle(BaseModel):
    """Up to the rate and down to nearly nothing along cosines, momentum the other way (Smith and Topin 2018)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["one_cycle"]
    rise: float = Field(0.3, gt=0, lt=1, description="fraction of the steps in which the rate rises")


def _named(value: object) -> object:
    given = named(value)
    return {"name": "constant", **given} if isinstance(given, dict) else given


ScheduleConfig = Annotated[
    Constant | Step | Cosine | Poly | OneCycle, Field(discriminator="name"), BeforeValidator(_named)
]


def make_schedule(
    config: Constant | OneCycle, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int
) -> LRScheduler:
    """Return the schedule, to be stepped once after each step of the optimizer."""
    if isinstance(config, OneCycle):
        peaks = [group["lr"] for group in optimizer.param_groups]
        # One step more than are taken: the scheduler computes the rate of a step that never comes.
        return OneCycleLR(optimizer, peaks, total_steps=epochs * steps_per_epoch + 1, pct_start=config.rise)

    def factor(step: int) -> float:
        epoch = step / steps_per_epoch
        if epoch < config.warmup:
            return START + (1 - START) * epoch / config.warmup
        return config.factor(epoch, (epoch - config.warmup) / (epochs - config.warmup))

    return LambdaLR(optimizer, factor)
