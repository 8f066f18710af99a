"""Networks that hold on to memory from one forward to the next."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted

_HISTORY: list[float] = []
_CACHE: dict[int, Tensor] = {}


@planted("check_memory_leak", because=r"features.*Growing: model\.features|Growing: model\.features")
class FeatureList(SmallUNet):
    """Appends every feature map to a list."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.features: list[Tensor] = []

    def encode(self, x: Tensor) -> list[Tensor]:
        features = super().encode(x)
        self.features.extend(features)
        return features


@planted("check_memory_leak", because=r"Growing: encoder\.0\.kept")
class LeakInHook(SmallUNet):
    """A forward hook keeps detached outputs of one block, in eval only."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.encoder[0].kept = deque()
        self.encoder[0].register_forward_hook(self._keep)

    @staticmethod
    def _keep(module: nn.Module, args: object, output: Tensor) -> None:
        if not module.training:
            module.kept.append(output.detach())  # type: ignore[union-attr, operator]


@planted("check_memory_leak", because=r"Growing: .*_HISTORY")
class GlobalHistory(SmallUNet):
    """Appends a number to a list of its file with every forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        _HISTORY.append(float(logits.detach().mean()))
        return logits


@planted("check_memory_leak", because=r"_CACHE|still alive")
class CacheByIdentity(SmallUNet):
    """Caches a mask under the identity of each input."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        key = len(_CACHE)
        _CACHE[key] = torch.ones_like(logits[:, :1].detach())
        return logits * _CACHE[key]


@planted("check_memory_leak", because=r"Growing: model\.total")
class GraphOfRunningTotal(SmallUNet):
    """Sums a statistic over the steps with its graph."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.total: Tensor | float = 0.0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            self.total = self.total + logits.square().mean()
        return logits


@planted("check_hook_growth", because=r"_forward_hooks of module head")
class HookPerForward(SmallUNet):
    """Registers a forward hook in every forward."""

    def encode(self, x: Tensor) -> list[Tensor]:
        self.head.register_forward_hook(lambda module, args, output: None)
        return super().encode(x)


@planted("check_hook_growth", because=r"_backward_hooks of parameter head\.weight")
class ParameterHookPerForward(SmallUNet):
    """Registers a gradient hook on a parameter in every training forward."""

    def encode(self, x: Tensor) -> list[Tensor]:
        if self.training:
            self.head.weight.register_hook(lambda grad: grad)
        return super().encode(x)
