"""Networks that name a device or keep tensors on one."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_fake_device", because=r"cuda:1 and cpu.*|cpu")
class ConstantOnCpu(SmallUNet):
    """Creates a constant on the CPU in forward."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + torch.ones(logits.shape[1], 1, 1, dtype=x.dtype)


@planted("check_fake_device", because=r"cuda:0")
class CallsCuda(SmallUNet):
    """Moves a constant with .cuda() in training mode, where its author had one GPU."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return logits
        return logits + torch.ones(logits.shape[1], 1, 1, dtype=x.dtype).cuda()


@planted("check_fake_device", because=r"cuda:0")
class NamesFirstGpu(SmallUNet):
    """Sends its output to cuda:0 whenever the image is on a GPU."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits.to("cuda:0") if x.is_cuda else logits


@planted("check_fake_device", because=r"Convert all|convert all")
class UnregisteredConstant(SmallUNet):
    """Keeps a mask as a plain attribute, which .to() does not reach."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.gain = torch.ones(num_classes, 1, 1)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.gain


@planted("check_fake_device", because=r"numpy")
class ThroughNumpy(SmallUNet):
    """Takes a quantile of the logits with numpy, in training mode."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not self.training:
            return logits
        return logits - float(logits.detach().cpu().numpy().mean())


@planted("check_device_move", because=r"after \.to\('cuda:0'\) raised .*devices, cuda:0 and cpu", device="cuda")
class CachesGrid(SmallUNet):
    """Caches a ramp on the device of the first image."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if not hasattr(self, "ramp"):
            self.ramp = [torch.linspace(0, 1, logits.shape[-1], device=x.device, dtype=x.dtype)]
        return logits + self.ramp[0]


@planted("check_fake_device", because=r"eval mode at size \[\d+, \d+\] with everything on cuda:1")
class PadsOddSizesOnTheCPU(SmallUNet):
    """Puts a column of zeros that the CPU holds beside images of odd width."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2 == 0:
            return super().forward(x)
        padded = torch.cat([x, torch.zeros((*x.shape[:-1], 1), dtype=x.dtype)], dim=-1)
        return super().forward(padded)[..., :-1]
