"""A network that learns: one step of it, its running average, and the state of both."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict

import torch
from accelerate import Accelerator
from accelerate.utils import fsdp2_prepare_model, gather_object
from torch import Tensor, nn

from unetzoo import factory
from unetzoo.applied import Provenance
from unetzoo.errors import ConfigError
from unetzoo.network import DenseModel
from unetzoo.training.augmentation import make_augmentation
from unetzoo.training.averaging import averaged
from unetzoo.training.cropping import center_crop
from unetzoo.training.data import SegmentationData, preset
from unetzoo.training.determinism import seed_everything
from unetzoo.training.failures import NonFiniteError
from unetzoo.training.losses import DeepSupervision, make_loss
from unetzoo.training.optimizers import make_optimizer
from unetzoo.training.parallel import gathered, gathered_output, synchronize_batch_norm
from unetzoo.training.recipe import Recipe
from unetzoo.training.schedules import make_schedule
from unetzoo.training.sharding import fill, gathered_state, load_gathered


class Batch(TypedDict):
    """Samples stacked: images (N, C, *spatial), targets (N, *spatial), and the names of their files."""

    image: Tensor
    target: Tensor
    name: list[str]


@dataclass(frozen=True)
class StepReport:
    """What one step of the optimizer was: mean loss of its batches, learning rate, norm of the gradient."""

    loss: float
    lr: float
    gradient_norm: float


class Learner:
    """The network of a recipe with optimizer, schedule and running average, placed by accelerate.

    Args:
        recipe: what to learn and how.
        data: whose classes and channels the network is made for.
        accelerator: device, processes and precision.
        steps_per_epoch: steps of the optimizer in an epoch.
    """

    def __init__(self, recipe: Recipe, data: SegmentationData, accelerator: Accelerator, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.accelerator = accelerator
        self.model = make_model(recipe, data)
        self.normalize = data.normalize
        self.augment = make_augmentation(
            recipe.augment, data.ndim, data.classes.ignore_index, unit_range=data.unit_range
        )
        loss = make_loss(recipe.loss, num_classes=self.model.num_classes, ignore_index=data.classes.ignore_index)
        self.loss = DeepSupervision(loss, **recipe.deep_supervision.model_dump()).to(accelerator.device)
        self.memory_format = torch.preserve_format
        if recipe.channels_last:
            self.memory_format = torch.channels_last if data.ndim == 2 else torch.channels_last_3d
            if not accelerator.is_fsdp2:  # which shards contiguous parameters alone
                self.model.to(memory_format=self.memory_format)
        if recipe.gradient_checkpointing:
            self.model.set_gradient_checkpointing()
        self.average = averaged(self.model, recipe.ema) if recipe.ema else None
        if self.average is not None:
            self.average.to(accelerator.device)
        # A sharded network runs in all processes at once; this one is scored by each process on its own images.
        self.whole = copy.deepcopy(self.model).to(accelerator.device) if accelerator.is_fsdp2 else None
        network: nn.Module = self.model
        if accelerator.num_processes > 1 and recipe.sync_batch_norm:
            network = synchronize_batch_norm(network, accelerator.device)
        optimizer = make_optimizer(recipe.optimizer, recipe.rates, self.model)
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        if accelerator.is_fsdp2 and self.average is not None:
            self.average.module = fsdp2_prepare_model(accelerator, self.average.module)
        self.schedule = make_schedule(
            recipe.schedule, self.optimizer.optimizer, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch
        )

    def scored(self) -> DenseModel:
        """The network that is evaluated and kept: the running average where there is one. Asked by all processes."""
        network = self.accelerator.unwrap_model(self.network) if self.average is None else self.average.module
        if self.whole is not None:
            fill(self.whole, network)
            network = self.whole
        assert isinstance(network, DenseModel)
        return network

    def begin_epoch(self, epoch: int) -> None:
        """Set training mode; the encoder is kept in the first epochs if the recipe says so."""
        if self.recipe.freeze_encoder_epochs:
            if epoch < self.recipe.freeze_encoder_epochs:
                self.model.freeze_encoder()
            else:
                self.model.unfreeze_encoder()
        self.network.train()

    def step(self, number: int, batches: Sequence[Batch]) -> StepReport:
        """Take step `number` of the run, over `batches`.

        Raises `NonFiniteError` before any weight changes if the loss or, in full precision, the gradient is not finite.
        """
        lr = self.optimizer.param_groups[0]["lr"]
        losses = []
        for place, batch in enumerate(batches):
            with self.accelerator.accumulate(self.network):
                loss = self._loss(batch, (number, place))
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    raise NonFiniteError(f"the loss is {losses[-1]}", self._names(batches))
                # Gradients are averaged over the processes; each has the part of the whole batch's that it computed.
                self.accelerator.backward(loss * self.accelerator.num_processes)
                if self.accelerator.sync_gradients:
                    norm = self._clip(batches)
                self.optimizer.step()
                self.optimizer.zero_grad()
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.accelerator.unwrap_model(self.network))
        return StepReport(sum(losses) / len(losses), lr, norm)

    def state(self) -> dict[str, object]:
        """Everything that the next steps depend on."""
        scaler = self.accelerator.scaler
        if self.accelerator.is_fsdp2:
            learned = gathered_state(self.network, self.average, self.optimizer.optimizer)
        else:
            learned = {
                "model": self.accelerator.get_state_dict(self.network),
                "average": None if self.average is None else self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        return {
            **learned,
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state that `state` gave."""
        if self.accelerator.is_fsdp2:
            load_gathered(state, self.network, self.average, self.optimizer.optimizer)
        else:
            self.accelerator.unwrap_model(self.network).load_state_dict(state["model"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _loss(self, batch: Batch, draw: tuple[int, ...]) -> Tensor:
        """The loss over the batches of all processes; `draw` numbers what is drawn at random."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        image, target = self._augmented(batch, draw)
        image = self.normalize(image).to(memory_format=self.memory_format)
        with self.accelerator.autocast():  # accelerate has it in the network already, unless that is sharded
            output = self.network(image)
        target = center_crop(target, output if isinstance(output, Tensor) else output[0])
        return self.loss(gathered_output(output, rank, processes), gathered(target, rank, processes))

    def _augmented(self, batch: Batch, draw: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        device = self.accelerator.device
        images, targets = batch["image"].to(device, non_blocking=True), batch["target"].to(device, non_blocking=True)
        first = self.accelerator.process_index * len(images)
        varied = []
        # One by one: a sample is varied in the same way whichever process has it.
        for place in range(len(images)):
            seed_everything(self.recipe.seed, *draw, first + place)
            varied.append(self.augment(images[place : place + 1], targets[place : place + 1]))
        seed_everything(self.recipe.seed, *draw, first)
        image, target = (torch.cat(parts) for parts in zip(*varied, strict=True))
        return image, target

    def _clip(self, batches: Sequence[Batch]) -> float:
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.recipe.clip or math.inf).item()
        # In half precision the scaler skips a step whose gradients overflow, and that is as it should be.
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise NonFiniteError(f"the norm of the gradient is {norm}", self._names(batches))
        return norm

    def _names(self, batches: Sequence[Batch]) -> list[str]:
        return gather_object([name for batch in batches for name in batch["name"]])


def make_model(recipe: Recipe, data: SegmentationData) -> DenseModel:
    """The network of the recipe, with the outputs and channels that the data asks for.

    Raises `ConfigError` if the recipe asks for outputs that do not fit the classes; two of them may have one output.
    """
    options: dict[str, Any] = {"num_classes": data.num_classes, "in_channels": data.in_channels}
    if data.ndim == 3:
        options["ndim"] = 3
    model = factory.create(recipe.model.name, **{**options, **recipe.model.options})
    if model.num_classes != data.num_classes and (model.num_classes, data.num_classes) != (1, 2):
        raise ConfigError(
            f"model.num_classes is {model.num_classes}, the data has {data.num_classes} classes; leave it out"
        )
    described = preset(data.config.preset) if data.config.preset is not None else None
    model.preprocessing = data.preprocessing
    model.classes = data.classes.classes
    model.provenance = Provenance(
        trained_on=described.title if described else data.config.root.name,
        weights=f"recipe of {model.card.name}" if model.card and model.card.name else "recipe",
        base=model.provenance.weights if model.provenance else "",
        library=f"unetzoo {version('unetzoo')}",
    )
    return model
