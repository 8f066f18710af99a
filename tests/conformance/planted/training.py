"""Networks that carry state or memory from one training step to the next, or checkpoint wrongly."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_two_steps", because=r"step 2 of 3 .*model\.previous")
class GraphOverSteps(SmallUNet):
    """Smooths its logits' mean over steps without detaching it."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.previous: Tensor | None = None

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        mean = logits.mean(dim=(0, 2, 3), keepdim=True)
        if self.training:
            mean = mean if self.previous is None else 0.5 * (mean + self.previous)
            self.previous = mean
        return logits - mean


@planted("check_two_steps", because=r"step 2 of 3")
class CachedWeight(SmallUNet):
    """Computes a normalized kernel once, in the first forward, graph and all."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.kernel: list[Tensor] = []

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.kernel:
            self.kernel.append(self.head.weight / self.head.weight.norm())
        return logits * self.kernel[0].square().sum()


@planted("check_accumulation", because="encoder")
class BatchMeanInTraining(SmallUNet):
    """Subtracts the mean over the whole batch, in training mode only, beside its proper normalization."""

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        return super().merge(y - y.mean(dim=0, keepdim=True) if self.training else y, skip, index)


class Checkpointed(SmallUNet):
    """Can recompute its encoder's blocks in the backward."""

    options: dict[str, bool] = {"use_reentrant": False}

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.dropout = nn.Dropout(0.2)
        self.checkpointing = False

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        self.checkpointing = enable

    def stage(self, index: int, x: Tensor) -> Tensor:
        return self.dropout(self.encoder[index](x))

    def encode(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for index in range(len(self.encoder)):
            x = x if not features else self.down(features[-1])
            features.append(
                checkpoint(self.stage, index, x, **self.options) if self.checkpointing else self.stage(index, x)
            )
        return features


@planted("check_grad_checkpointing", because=r"encoder\.0\.0\.weight.*use_reentrant=False")
class ReentrantCheckpoint(Checkpointed):
    """Checkpoints the first block re-entrantly."""

    options = {"use_reentrant": True}


@planted("check_grad_checkpointing", because=r"differs by .*preserve_rng_state")
class CheckpointWithoutRng(Checkpointed):
    """Draws another dropout mask in the second pass."""

    options = {"use_reentrant": False, "preserve_rng_state": False}


@planted("check_grad_checkpointing", because="saves nothing")
class CheckpointSwitchWithoutEffect(Checkpointed):
    """The switch sets an attribute that nothing reads."""

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        self.use_checkpoint = enable


@planted(
    "check_grad_checkpointing",
    because="has no set_gradient_checkpointing",
    capabilities={"supports": ["grad_checkpointing"]},
)
class ClaimsCheckpointing(SmallUNet):
    """Capabilities an interface that it does not have."""
