"""A network of MONAI behind our contract."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from unetzoo.adapters.monai.networks import NETWORKS
from unetzoo.adapters.wrapping import WrappedModel, import_library, make_constant
from unetzoo.components.binding import call
from unetzoo.errors import ConfigError
from unetzoo.nn.resampling import interpolate


class MonaiModel(WrappedModel):
    """A network of MONAI as `self.network`, with any size of image and its outputs brought to our convention.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits.
        ndim: spatial dimensions, MONAI's `spatial_dims`.
        network: name of the class in lower case.
        deep_supervision: whether training mode returns several levels' logits, where the network has them.
        **options: what else the class takes, under MONAI's own names.

    Raises:
        ConfigError: an unknown option, or one that MONAI refuses.
        PluginError: MONAI is not installed.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        ndim: int,
        network: str,
        deep_supervision: bool = False,
        **options: Any,
    ) -> None:
        facts = NETWORKS[network]
        name = f"monai/{network}"
        if deep_supervision and facts.deep_supervision is None:
            raise ConfigError(f"{name!r} has no deep supervision")
        chosen = {**facts.defaults, **options}
        if deep_supervision and facts.deep_supervision is not None:
            chosen.setdefault(*facts.deep_supervision)
        size = chosen.get("img_size")
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=ndim,
            divisor=facts.divisor(chosen, ndim),
            fixed_size=((size,) * ndim if isinstance(size, int) else size) if facts.sized else None,
        )
        self._make = partial(_make, network, {"spatial_dims": ndim, "in_channels": in_channels, **chosen})
        self.network, dropped = self._make(num_classes)
        self.run = facts.call
        self.layouts = {"monai": {"*": "network.*", **dict.fromkeys(dropped)}}
        smallest = self.fixed_size or [max(32, 2 * divisor) for divisor in self.divisor]
        self.find_unused(smallest, {"network": network, **chosen})

    def is_block(self, parent: nn.Module, child: nn.Module) -> bool:
        """Whether a module is one of MONAI's blocks, or one of a list of modules; MONAI nests its sequences."""
        listed = isinstance(parent, (nn.ModuleList, nn.ModuleDict))
        return listed or type(child).__module__.startswith("monai.networks.blocks")

    def _replace_head(self, num_classes: int) -> None:
        """Replace the layers whose shapes follow from the number of classes."""
        fresh, other = self._make(num_classes)[0], self._make(num_classes + 1)[0]
        shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
        outer = [name for name, parameter in fresh.named_parameters() if parameter.shape != shapes[name]]
        for path in dict.fromkeys(name.rpartition(".")[0] for name in outer):
            old = self.network.get_submodule(path)
            some = next(old.parameters())
            layer = fresh.get_submodule(path)
            if self.initialize is not None:
                self.initialize(layer)
            self.network.set_submodule(path, layer.to(some.device, some.dtype).train(old.training))

    def _prepare(self, x: torch.Tensor) -> torch.Tensor:
        sides = zip(x.shape[2:], self.divisor, strict=True)
        if self.fixed_size is None and all(type(side) is int and side <= divisor for side, divisor in sides):
            # A single coarsest element could not be normalized.
            x = F.pad(x, (0, self.divisor[-1]))
        return super()._prepare(x)

    def call(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run the network; coarser logits are interpolated to the finest's size."""
        finest, *coarser = self.run(self.network, x)
        return [finest, *(interpolate(logits, finest.shape[2:]) for logits in coarser)]


def _make(network: str, options: Mapping[str, Any], num_classes: int) -> tuple[nn.Module, list[str]]:
    """Build and repair a network; also return which keys of MONAI's state dict it is left without."""
    facts = NETWORKS[network]
    name = f"monai/{network}"
    made = call(_class(facts.name, name), {**options, "out_channels": num_classes}, name=repr(name), foreign=True)
    theirs = list(made.state_dict())
    constant = make_constant(made)
    if facts.repair is not None:
        facts.repair(made, options, options["spatial_dims"])
    kept = set(made.state_dict())
    return made, [key for key in [*constant, *theirs] if key not in kept]


def _class(title: str, name: str) -> type[nn.Module]:
    shown = warnings.showwarning
    try:
        nets = import_library("monai.networks.nets", extra="monai", wanted_for=name)
    finally:
        # Importing MONAI replaces the process's way of showing warnings.
        warnings.showwarning = shown
    return getattr(nets, title)
