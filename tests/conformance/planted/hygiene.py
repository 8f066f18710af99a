"""Networks that leave traces, hide tensors, or go round hooks."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..networks import Block, SmallUNet
from ..planting import planted


@planted("check_global_state", because="construction.*default_dtype")
class SetsDefaultDtype(SmallUNet):
    """Changes the default dtype."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        torch.set_default_dtype(torch.float64)


@planted("check_global_state", because="construction.*default_dtype")
class ResetsDefaultDtype(SmallUNet):
    """Puts the default dtype back to float32, whatever it was."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        torch.set_default_dtype(torch.float32)


@planted("check_global_state", because="forward.*cudnn.benchmark")
class SetsBenchmark(SmallUNet):
    """Turns cudnn.benchmark on in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        torch.backends.cudnn.benchmark = True
        return logits


@planted("check_global_state", because="warnings.filters")
class SilencesWarnings(SmallUNet):
    """Filters warnings for everyone."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        warnings.filterwarnings("ignore")


@planted("check_global_state", because="root logger")
class ConfiguresLogging(SmallUNet):
    """Sets the level of the root logger."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        logging.getLogger().setLevel(logging.ERROR)


@planted("check_global_state", because="environ")
class SetsEnvironment(SmallUNet):
    """Exports a variable in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        os.environ["OMP_WAIT_POLICY_OF_NET"] = "passive"
        return logits


@planted("check_global_state", because="anomaly")
class LeavesAnomalyMode(SmallUNet):
    """Turns anomaly detection on and leaves it on."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        torch.autograd.set_detect_anomaly(True)
        return logits


@planted("check_global_state", because="num_threads")
class SetsThreads(SmallUNet):
    """Asks for one thread."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        torch.set_num_threads(1)


@planted("check_global_state", because="is_grad_enabled")
class LeavesGradOff(SmallUNet):
    """Turns gradients off in eval mode."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training:
            torch.set_grad_enabled(False)
        return logits


@planted("check_silent", because="printed.*shape")
class Prints(SmallUNet):
    """Prints shapes."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        sys.stdout.write(f"shape {tuple(x.shape)}\n")
        return logits


@planted("check_silent", because=r"training forward at size \[\d+, \d+\] printed")
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


@planted("check_all_registered", because="unregistered module")
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
    """Renormalises its head into a new parameter in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())
        return logits


@planted("check_module_reuse", because="more than once")
class SharedBatchNorm(SmallUNet):
    """Uses one normalisation after every merge."""

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


@planted("check_all_registered", because="after an eval forward, fused")
class FusesInEval(SmallUNet):
    """Keeps a tensor computed from its weights at the first eval forward, and goes on using it when they change."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training and not hasattr(self, "fused"):
            self.fused = self.head.weight.detach().mean()
        return logits if self.training else logits + self.fused


@planted("check_global_state", because="hooks of every module")
class HooksEveryModule(SmallUNet):
    """Registers a forward hook on all modules of the process."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        nn.modules.module.register_module_forward_hook(lambda *_: None)


@planted("check_global_state", because="gc.isenabled")
class StopsGarbageCollection(SmallUNet):
    """Turns the garbage collector off, to be faster."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        gc.disable()
        return logits


@planted("check_global_state", because="numpy.geterr")
class QuietensNumpy(SmallUNet):
    """Turns numpy's warnings off."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        np.seterr(all="ignore")


@planted("check_global_state", because=r"_dynamo.config: \{'suppress_errors'")
class SuppressesCompileErrors(SmallUNet):
    """Makes torch.compile fall back to eager for everyone."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        torch._dynamo.config.suppress_errors = True


@planted("check_global_state", because="flash_sdp_enabled")
class ForbidsFlashAttention(SmallUNet):
    """Turns flash attention off for everyone."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        torch.backends.cuda.enable_flash_sdp(False)


@planted("check_global_state", because="signal handlers")
class CatchesInterrupts(SmallUNet):
    """Handles Ctrl-C itself."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        signal.signal(signal.SIGINT, lambda *_: None)


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


@planted("check_global_state", because=r"fp32_precision|matmul_precision|allow_tf32")
class SetsPrecision(SmallUNet):
    """Allows products of lower precision, for every network of the process."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("high")
        return logits


@planted("check_state_dict_stable", because=r"training forward at size \[\d+, \d+\] changed the state dict")
class GrowsAtOddWidth(SmallUNet):
    """Makes a layer when the first image of odd width comes."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if x.shape[-1] % 2 == 0:
            return logits
        if not hasattr(self, "align"):
            self.align = nn.Conv2d(logits.shape[1], logits.shape[1], 1).to(logits)
        return self.align(logits)
