"""Switchable normalization (Luo et al., "Differentiable learning-to-normalize", ICLR 2019, section 2)."""

from __future__ import annotations

import torch
from torch import nn


class SwitchableNorm(nn.modules.batchnorm._NormBase):
    """Normalizes by a learned mixture of instance, layer and batch statistics: (N, C, *S) to the same.

    The mixture of the means and that of the variances have a softmax each. Evaluation takes the running batch
    statistics, kept in training as torch's batch normalization keeps them.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(channels, eps, momentum)
        self.mean_mixture = nn.Parameter(torch.ones(3))
        self.var_mixture = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        axes = tuple(range(2, x.ndim))
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        instance_mean = values.mean(axes)
        instance_var = values.var(axes, unbiased=False)
        # Variances are added up: the mean of squares less the square of the mean loses all digits of a far mean.
        layer_mean = instance_mean.mean(1, keepdim=True)
        layer_var = (instance_var + (instance_mean - layer_mean) ** 2).mean(1, keepdim=True)
        if self.training:
            batch_mean = instance_mean.mean(0)
            batch_var = (instance_var + (instance_mean - batch_mean) ** 2).mean(0)
            self._update(batch_mean, batch_var)
        else:
            batch_mean, batch_var = self.running_mean, self.running_var
        mean = _mix(self.mean_mixture, instance_mean, layer_mean, batch_mean)
        var = _mix(self.var_mixture, instance_var, layer_var, batch_var)
        gain = self.weight * torch.rsqrt(var + self.eps)
        shape = (*gain.shape, *[1] * len(axes))
        bias = self.bias.view(-1, *[1] * len(axes))
        return ((values - mean.view(shape)) * gain.view(shape) + bias).to(x.dtype)

    @torch.no_grad()
    def _update(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        self.num_batches_tracked.add_(1)
        weight = 1 / self.num_batches_tracked if self.momentum is None else torch.tensor(self.momentum)
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.lerp_(new.to(running.dtype), weight.to(running))


def _mix(mixture: torch.Tensor, instance: torch.Tensor, layer: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Return the mixture of statistics, (N, C)."""
    first, second, third = mixture.softmax(0)
    return first * instance + second * layer + third * batch
