"""What makes several processes train as one with the whole batch would: a loss and statistics over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Output = Tensor | list[Tensor]


def gathered(tensor: Tensor, rank: int, processes: int) -> Tensor:
    """The tensors of all processes in their order, along the batch; gradients reach this process's own part.

    The shapes must agree. A loss of the whole is then the loss of the whole batch in every process, whatever it
    divides by: each has the gradient by its own part, and their sum is the gradient of the whole.
    """
    if processes == 1:
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(processes)]
    dist.all_gather(parts, tensor.detach().contiguous())
    parts[rank] = tensor
    return torch.cat(parts)


def gathered_output(output: Tensor | Sequence[Tensor], rank: int, processes: int) -> Output:
    """The logits of all processes, in float32; with deep supervision those of every output."""
    if isinstance(output, Tensor):
        return gathered(output.float(), rank, processes)
    return [gathered(logits.float(), rank, processes) for logits in output]


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network with batch normalization over the batches of all processes.

    The layers keep their keys in the state. On the CPU, where torch has no such layer, those of plain batch
    normalization are replaced, and timm's with an activation inside are not.
    """
    if device.type != "cpu":
        return convert_sync_batchnorm(network)
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and type(child) in PLAIN:
            setattr(network, name, SharedBatchNorm.of(child))
        else:
            synchronize_batch_norm(child, device)
    return network


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization whose statistics in training are those of all processes' batches together."""

    @classmethod
    def of(cls, layer: nn.modules.batchnorm._BatchNorm) -> SharedBatchNorm:
        """The same layer, sharing its parameters and buffers."""
        shared = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        shared._parameters, shared._buffers, shared.training = layer._parameters, layer._buffers, layer.training
        return shared

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `(N, C, *spatial)`."""
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = (1, -1, *[1] * (x.ndim - 2))
        count = torch.tensor(float(x.numel() // x.shape[1]), device=x.device)
        dist.all_reduce(count)
        mean = _Sum.apply(x.sum(axes)) / count
        centered = x - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(axes)) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach() * count / (count - 1))
        normal = centered * (variance + self.eps).rsqrt().view(shape)
        return normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, x: Tensor) -> None:
        pass


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])
