"""What a check is given: fresh seeded models and inputs of the network under test, its capabilities, and the device."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from unetzoo.analysis import recording as analysis
from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.definition.outcomes import CheckFailed, NotApplicable, Unavailable


class Builder(Protocol):
    """Builds the network under test; both arguments are passed by keyword."""

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        """A fresh network."""
        ...


@dataclass(frozen=True)
class Context:
    """One check's view of the network under test. Everything it hands out is fresh, seeded and on `device`.

    `size` is a legal size, different on every axis, that keeps a small network quick. Models and inputs are float64
    by default. `tmp_path` is an empty directory, removed after the check.
    """

    name: str
    builder: Builder
    capabilities: Capabilities
    in_channels: int
    num_classes: int
    size: Axes
    device: torch.device
    seed: int
    tmp_path: Path

    def build(
        self, *, seed: int = 0, in_channels: int | None = None, num_classes: int | None = None, **options: object
    ) -> nn.Module:
        """The network as the builder returns it: on the CPU, float32, weights drawn from `seed`."""
        torch.manual_seed(self.seed + seed)
        return self.builder(
            in_channels=self.in_channels if in_channels is None else in_channels,
            num_classes=self.num_classes if num_classes is None else num_classes,
            **options,
        )

    def train_model(
        self,
        *,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        perturb: bool = False,
        in_channels: int | None = None,
        num_classes: int | None = None,
        **options: object,
    ) -> nn.Module:
        """A fresh network in training mode on the device; `perturb` moves the weights off special initial values."""
        model = self.build(seed=seed, in_channels=in_channels, num_classes=num_classes, **options)
        if perturb:
            perturb_parameters(model, self.seed + seed)
        model = model.to(device=self.device, dtype=dtype)
        model.train()
        return model

    def eval_model(
        self,
        *,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        perturb: bool = True,
        warm: bool = True,
        in_channels: int | None = None,
        num_classes: int | None = None,
        **options: object,
    ) -> nn.Module:
        """A fresh network in eval mode on the device.

        `perturb` adds noise to every parameter, since a zero-initialized scale hides a path. `warm` estimates the
        running statistics on one batch of noise, since their initial 0 and 1 hide faults; on the CPU, to be repeatable.
        """
        on_cpu = replace(self, device=torch.device("cpu"))
        channels = self.in_channels if in_channels is None else in_channels
        model = on_cpu.train_model(
            dtype=torch.float32, seed=seed, perturb=perturb, in_channels=channels, num_classes=num_classes, **options
        )
        if warm:
            warm_statistics(model, on_cpu.input(batch=3, channels=channels, seed=1000 + seed, dtype=torch.float32))
        model.to(device=self.device, dtype=dtype)
        model.eval()
        return model

    def input(
        self,
        batch: int = 2,
        size: Axes | None = None,
        *,
        channels: int | None = None,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> Tensor:
        """Standard normal noise (batch, channels, *size) on the device."""
        shape = (batch, self.in_channels if channels is None else channels, *(self.size if size is None else size))
        return torch.randn(shape, generator=self.generator(seed), dtype=torch.float64).to(self.device, dtype)

    def generator(self, seed: int = 0) -> torch.Generator:
        """A CPU generator of its own, seeded from the suite's seed and this one."""
        return torch.Generator().manual_seed(7919 * (self.seed + 1) + seed)

    def outputs(self, model: nn.Module, x: Tensor) -> list[Tensor]:
        """All output tensors of `model(x)`, flattened out of any list, tuple, mapping or dataclass, in order."""
        return tensors_in(model(x))

    def output(self, model: nn.Module, x: Tensor) -> Tensor:
        """The first, finest output tensor of `model(x)`."""
        return self.outputs(model, x)[0]

    def loss(self, outputs: Tensor | list[Tensor], seed: int = 0) -> Tensor:
        """Scalar whose gradient by the outputs is unit noise: sees every channel and pixel, unlike `mean()`."""
        tensors = [outputs] if isinstance(outputs, Tensor) else outputs
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for index, out in enumerate(tensors):
            weight = torch.randn(out.shape, generator=self.generator(31 * seed + index), dtype=torch.float64)
            total = total + (out.to(torch.float64) * weight.to(out.device)).sum() / math.sqrt(max(out.numel(), 1))
        return total

    def sizes(self) -> list[Axes]:
        """Legal sizes worth trying: square, all axes different, other parities, the minimum."""
        n, capabilities = self.capabilities.ndim, self.capabilities
        wanted = [
            (max(self.size),) * n,
            self.size,
            tuple(reversed(self.size)),
            self.odd_size(),
            capabilities.min_size,
        ]
        return list(dict.fromkeys(capabilities.legal(size) for size in wanted))

    def odd_size(self) -> Axes:
        """A legal size of other parities than `size`, where the network allows."""
        return self.capabilities.legal(tuple(s + 1 + 2 * axis for axis, s in enumerate(self.size)))

    def long_sizes(self) -> list[Axes]:
        """Legal sizes at least six times as long along one axis, the last or the first, as along the others."""
        n, low = self.capabilities.ndim, min(self.size)
        long = max(6 * low, 400) if n < 3 else 6 * low
        wanted = [tuple(long if a == axis else low for a in range(n)) for axis in (n - 1, 0)]
        return list(dict.fromkeys(self.capabilities.legal(size) for size in wanted))

    def require(self, condition: object, reason: str) -> None:
        """Raise NotApplicable with the reason unless the condition is truthy."""
        if not condition:
            raise NotApplicable(reason)

    @contextmanager
    def sixteen_bits(self) -> Iterator[None]:
        """Turn torch's own lack of a kernel for float16 or bfloat16 on the CPU into Unavailable."""
        try:
            yield
        except RuntimeError as error:
            if self.device.type == "cpu" and re.search("not implemented for '(Half|BFloat16)'", str(error)):
                raise Unavailable(f"torch has no such kernel on the CPU: {error}") from error
            raise

    def require_cuda(self) -> None:
        """Raise Unavailable unless the suite runs on a CUDA device."""
        if self.device.type != "cuda":
            raise Unavailable("needs device='cuda'")


def tensors_in(result: object) -> list[Tensor]:
    """The tensors of a forward's result, in order. Raises CheckFailed if there is none."""
    found = list(analysis.tensors_in(result))
    if not found:
        raise CheckFailed(f"forward returned {type(result).__name__} without a tensor in it; expected a logits tensor")
    return found


@torch.no_grad()
def perturb_parameters(model: nn.Module, seed: int) -> None:
    """Add noise to vectors and to constant tensors: scales, offsets and zero-initialized layers.

    The noise is small against a variance-preserving initialization. Weights drawn at random stay as they are.
    """
    generator = torch.Generator().manual_seed(seed + 4242)
    for parameter in model.parameters():
        flat = parameter.detach().flatten()
        expanded = parameter.untyped_storage().nbytes() < parameter.numel() * parameter.element_size()
        if not parameter.is_floating_point() or parameter.is_meta or parameter.numel() == 0 or expanded:
            continue
        if parameter.dim() < 2 or bool((flat == flat[0]).all()):
            std = 0.1 / math.sqrt(parameter[0].numel()) if parameter.dim() > 1 else 0.02
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32) * std
            parameter.add_(noise.to(parameter.device, parameter.dtype))


@torch.no_grad()
def warm_statistics(model: nn.Module, x: Tensor, *, floor: float = 0.01) -> None:
    """Set the running statistics of normalization layers to those of `x`, averaged over a layer's calls.

    A channel that is silent on `x` and fires on other images would be divided by next to nothing: dropout, which
    makes such channels, is off, and no variance is less than `floor` of the layer's mean variance.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        # Only torch's own forward takes None, for the average; a layer with another one gets those of its last call.
        layer.momentum = None if type(layer).forward is nn.modules.batchnorm._BatchNorm.forward else 1.0
    try:
        model(x)
        for layer in layers:
            if isinstance(layer.running_var, Tensor):
                layer.running_var.clamp_(min=floor * layer.running_var.mean())
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


def state_layout(model: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and dtype of each tensor in the state dict."""
    return {name: (value.shape, value.dtype) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
