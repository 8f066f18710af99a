"""Networks that leave traces, print, hide tensors, or go round hooks."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import tempfile
import threading
import time
import types
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.conformance.networks import Block, SmallUNet
from tests.conformance.planting import planted


@planted("check_silent", because="printed.*shape")
class Prints(SmallUNet):
    """Prints shapes."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        sys.stdout.write(f"shape {tuple(x.shape)}\n")
        return logits


@planted("check_silent", because=r"training step at size \[\d+, \d+\] printed")
class PrintsWhenItPads(SmallUNet):
    """Reports in training that it pads images of odd width."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training and x.shape[-1] % 2:
            sys.stdout.write("padded\n")
        return logits


@planted("check_silent", because="warned.*DeprecationWarning")
class Warns(SmallUNet):
    """Uses something deprecated."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        return logits


@planted("check_repr", because="extra_repr")
class BrokenRepr(SmallUNet):
    """Asks in extra_repr for an attribute that is not there."""

    def extra_repr(self) -> str:
        return f"width={self.width}"


@planted("check_modules_registered", because="unregistered module")
class PlainList(SmallUNet):
    """Keeps a layer in a plain list."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.extra = {"last": [nn.Conv2d(num_classes, num_classes, 1)]}

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.extra["last"][0].to(logits)(logits)


@planted("check_all_registered", because="after a training forward.*unregistered tensor")
class KeepsActivations(SmallUNet):
    """Keeps its features on self."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.features = (logits,)
        return logits


@planted("check_state_dict_stable", because="changed the state dict")
class LazyLayer(SmallUNet):
    """Makes its last layer in the first forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not hasattr(self, "last"):
            self.last = nn.Conv2d(logits.shape[1], logits.shape[1], 1).to(logits)
        return self.last(logits)


@planted("check_state_dict_stable", because="replaced parameters")
class NewParameterEachForward(SmallUNet):
    """Renormalizes its head into a new parameter in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())
        return logits


@planted("check_module_reuse", because="more than once")
class SharedBatchNorm(SmallUNet):
    """Uses one normalization after every merge."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.norm = nn.BatchNorm2d(3)
        self.adapt = nn.ModuleList(nn.Conv2d(c, 3, 1) for c in (24, 12))
        self.back = nn.ModuleList(nn.Conv2d(3, c, 1) for c in (24, 12))

    def merge(self, y: Tensor, skip: Tensor, index: int) -> Tensor:
        merged = super().merge(y, skip, index)
        return self.back[index](self.norm(self.adapt[index](merged)))


@planted("check_hooks_fire", because="bypasses hooks")
class CallsForward(SmallUNet):
    """Calls forward of its blocks."""

    def encode(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for block in self.encoder:
            x = block.forward(x if not features else self.down(features[-1]))
            features.append(x)
        return features


@planted("check_hooks_fire", because="never called")
class NeverCalled(SmallUNet):
    """Has a block that nothing uses."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.auxiliary = Block(4, 4)


@planted("check_hooks_fire", because="never called as a module")
class FunctionalHead(SmallUNet):
    """Applies the weights of its head without calling it."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.last = nn.Conv2d(num_classes, num_classes, 1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return nn.functional.conv2d(logits, self.last.weight, self.last.bias)


@planted("check_hooks_fire", because="last.*not in one without")
class FunctionalWithoutGraph(FunctionalHead):
    """Applies them so where no gradient is asked."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.last(logits) if torch.is_grad_enabled() else super().finish(logits, x)


@planted("check_all_registered", because="after an eval forward, fused")
class FusesInEval(SmallUNet):
    """Keeps a tensor computed from its weights at the first eval forward, and goes on using it when they change."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training and not hasattr(self, "fused"):
            self.fused = self.head.weight.detach().mean()
        return logits if self.training else logits + self.fused


@planted("check_self_contained", because="construction asked for the address of 'localhost'")
class AsksTheNetwork(SmallUNet):
    """Looks for newer weights whenever it is built."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", 9), timeout=0.1)


@planted("check_self_contained", because="forward wrote to the file '.*last_input.pt'")
class DumpsItsInput(SmallUNet):
    """Saves its last input for debugging."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        with (Path(tempfile.gettempdir()) / "last_input.pt").open("wb") as file:
            file.write(b"input")
        return logits


@planted("check_self_contained", because="construction left threads running")
class WatchesInBackground(SmallUNet):
    """Starts a thread that watches its memory."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()


@planted("check_state_dict_stable", because=r"training forward at size \[\d+, \d+\] changed the state dict")
class GrowsAtOddWidth(SmallUNet):
    """Makes a layer when the first image of odd width comes."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if x.shape[-1] % 2 == 0:
            return logits
        if not hasattr(self, "align"):
            self.align = nn.Conv2d(logits.shape[1], logits.shape[1], 1).to(logits)
        return self.align(logits)


@planted("check_silent", because="of one image printed")
class TellsOfSingleImages(SmallUNet):
    """Prints for a batch of one."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            print("a batch of one")
        return logits


@planted("check_silent", because="of a float64 network warned")
class WarnsInDouble(SmallUNet):
    """Warns where it is given float64."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            warnings.warn("float64 is slow", stacklevel=2)
        return logits


@planted("check_repr", because="on a network that has run")
class PrintsItsLastSize(SmallUNet):
    """Formats what a forward leaves on it as a number."""

    last: object = 0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.last = tuple(x.shape)
        return logits

    def extra_repr(self) -> str:
        return f"last={self.last:d}"


@planted("check_all_registered", because=r"scale.* unregistered tensor")
class TensorInPartial(SmallUNet):
    """Binds a tensor to a function."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.scale = functools.partial(torch.mul, torch.full((1,), 1.5))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.scale(logits)


@planted("check_all_registered", because=r"tables\['scale'\].* unregistered tensor")
class TensorInNamespace(SmallUNet):
    """Keeps a tensor in a namespace."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.tables = types.SimpleNamespace(scale=torch.full((1,), 1.5))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.tables.scale
