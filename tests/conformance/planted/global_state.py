"""Networks that change what belongs to the process."""

from __future__ import annotations

import gc
import logging
import os
import signal
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


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


@planted("check_global_state", because=r"fp32_precision|matmul_precision|allow_tf32")
class SetsPrecision(SmallUNet):
    """Allows products of lower precision, for every network of the process."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("high")
        return logits


@planted("check_global_state", because="without a channel axis changed global state: .*grad")
class ForgetsGradientsOnError(SmallUNet):
    """Tests its input with gradients off, and leaves them off where it refuses."""

    def forward(self, x: Tensor) -> Tensor:
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        if x.dim() != 4:
            raise ValueError(f"expected 4 axes, got {x.dim()}")
        torch.set_grad_enabled(before)
        return super().forward(x)
