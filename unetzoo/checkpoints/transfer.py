"""Weights of a network for other classes or other input channels: what of them can be used, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from unetzoo.nn import dims


@dataclass
class Transfer:
    """What was done to fit weights to a model, by our keys.

    Attributes:
        adapted: first convolutions, whose weights were fitted to the number of input channels.
        fresh: tensors of the head, which stay as they were initialized.
    """

    adapted: dict[str, torch.Tensor] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in one sentence."""
        parts = []
        if self.adapted:
            widths = {tensor.shape[1] for tensor in self.adapted.values()}
            parts.append(f"{', '.join(self.adapted)} was adapted to {', '.join(map(str, widths))} input channels")
        if self.fresh:
            parts.append(f"{', '.join(self.fresh)} is new and has to be trained")
        return "; ".join(parts)


def find_transfer(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], in_channels: int) -> Transfer:
    """Find out how tensors of other shapes than the model's can be used nonetheless.

    A convolution that reads the image is adapted to `in_channels`; a layer of the head that differs stays new, its
    bias too. Tensors that differ otherwise are not in the result.
    """
    found = Transfer()
    for key, tensor in state.items():
        if key not in own or tensor.shape == own[key].shape:
            continue
        wanted = own[key].shape
        only_inputs = tensor.dim() == len(wanted) > 2 and (tensor.shape[0], *tensor.shape[2:]) == (
            *wanted[:1],
            *wanted[2:],
        )
        if only_inputs and wanted[1] == in_channels and "head." not in key:
            found.adapted[key] = adapt_input_channels(tensor, in_channels)
        elif key.startswith("head.") or ".head." in key:
            layer = key.rpartition(".")[0]
            found.fresh += [name for name in own if name.rpartition(".")[0] == layer and name not in found.fresh]
    return found


def adapt_input_channels(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """Return the weight of a convolution (out, in, *kernel) for another number of input channels.

    As timm does it for three: one channel gets the sum over all, more or fewer get the channels in turn, scaled so
    that the sum over a gray image stays.
    """
    have = weight.shape[1]
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = torch.cat([weight] * dims.divide_up(in_channels, have), dim=1)[:, :in_channels]
    return repeated * (have / in_channels)
