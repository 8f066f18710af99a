"""Switchable normalization: its three kinds of statistics, their mixture and the running ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetzoo.nn.switchable import SwitchableNorm


def only(kind: int, channels: int = 4) -> SwitchableNorm:
    """A layer whose mixtures have chosen instance (0), layer (1) or batch (2) statistics."""
    norm = SwitchableNorm(channels)
    for mixture in (norm.mean_mixture, norm.var_mixture):
        nn.init.constant_(mixture, -40.0)
        mixture.data[kind] = 40.0
    return norm


def image() -> torch.Tensor:
    return 2 * torch.randn(3, 4, 5, 6) + torch.arange(4.0).view(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("kind", "reference"), [(0, nn.InstanceNorm2d(4)), (1, nn.GroupNorm(1, 4)), (2, nn.BatchNorm2d(4))]
)
def test_a_mixture_of_one_kind_is_that_normalization(kind: int, reference: nn.Module):
    x = image()
    torch.testing.assert_close(only(kind)(x), reference.train()(x), rtol=1e-4, atol=1e-5)


def test_mixing_weights_start_equal_and_learn():
    norm = SwitchableNorm(4)
    norm(image()).square().mul(torch.randn(4, 1, 1)).sum().backward()
    torch.testing.assert_close(norm.mean_mixture.softmax(0), torch.full((3,), 1 / 3))
    assert norm.mean_mixture.grad is not None
    assert norm.mean_mixture.grad.abs().min() > 0
    assert norm.var_mixture.grad is not None
    assert norm.var_mixture.grad.abs().min() > 0


def test_running_statistics_move_by_the_momentum_in_training_alone():
    norm = SwitchableNorm(4, momentum=0.25)
    x = image()
    norm(x)
    mean = x.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.25 * mean)
    torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * x.var((0, 2, 3), unbiased=False))
    norm.eval()(image())
    torch.testing.assert_close(norm.running_mean, 0.25 * mean)


def test_evaluation_of_a_sample_does_not_depend_on_its_batch():
    norm = SwitchableNorm(4).eval()
    x = image()
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))


def test_without_momentum_the_running_statistics_are_the_average_of_all_batches():
    norm = SwitchableNorm(4, momentum=None)
    batches = [image(), image(), image()]
    for batch in batches:
        norm(batch)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0))


@pytest.mark.parametrize("training", [True, False])
def test_a_mean_far_from_zero_leaves_the_deviation(training: bool) -> None:
    layer = SwitchableNorm(4).train(training)
    values = torch.randn(2, 4, 16, 16, dtype=torch.float64) * 0.1 + 1000
    expected = SwitchableNorm(4).double().train(training)(values)
    # Numbers near 1000 are 6e-5 apart in float32: 6e-4 of the deviation.
    torch.testing.assert_close(layer(values.float()).double(), expected, rtol=0, atol=3e-3)
