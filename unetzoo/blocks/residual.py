"""The residual block (He et al., "Deep residual learning", CVPR 2016, figure 2) and its variants in U-Nets."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.components.binding import Table
from unetzoo.components.spec import Spec
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.convolution import ConvNormAct, ConvOptions
from unetzoo.nn.typing import Size


class Residual(nn.Module):
    """Convolutions whose result is added to the input: (N, in_channels, *S) to (N, out_channels, *S / stride).

    The order of the convolutions decides the kind of block: where it ends with the activation ("cna", "nca"), the
    last activation comes after the sum; elsewhere ("nac": He et al., ECCV 2016) nothing follows the sum.

    Args:
        in_channels: input channels.
        out_channels: output channels.
        ndim: 2 or 3.
        stride: of the first convolution.
        depth: number of convolutions.
        shortcut: how the input gets the output's shape. `projection`: a normalized convolution (`kernel_size` 1)
            where the shape changes (`always`: everywhere), after average pooling instead of strided with `pool`
            (ResNet-D, He et al., CVPR 2019). `first`: the projection comes before the whole block, whose convolutions
            then keep the shape. `repeat`: the input's channels, repeated. `projection` and `first` take further
            options of `ConvNormAct`.
        activate_last: whether the last convolution has an activation before the sum.
        raw_input: whether a pre-activated block leaves its input as it is, because that is the image.
        branch_dropout: probability of dropping a channel before the first convolution.
        zero_init: whether the last normalization starts at zero, so that the block starts as its shortcut.
        **conv: options of every convolution, those of `ConvNormAct`.

    Raises:
        ConfigError: a shortcut or an option that does not exist or does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        stride: Size = 1,
        depth: int = 2,
        shortcut: Spec = "projection",
        activate_last: bool = False,
        raw_input: bool = False,
        branch_dropout: float = 0.0,
        zero_init: bool = False,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ConfigError(f"depth is {depth}; a residual block needs at least one convolution")
        if conv.get("padding", "same") != "same":
            raise ConfigError(f"padding is {conv['padding']!r}; a residual block keeps the size and needs 'same'")
        name, _, options = SHORTCUTS.find(shortcut)
        activation = conv.get("activation", "relu")
        ends_active = conv.get("order", "cna").replace("d", "").endswith("a")
        self.project: nn.Module = nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if name == "first":
            plain = {"name": name, "kernel_size": 1, "norm": "none", "activation": "none", **options}
            self.project = SHORTCUTS.make(plain, in_channels, out_channels, stride, ndim=ndim)
            in_channels, stride = out_channels, 1
        elif name == "repeat":
            self.shortcut = SHORTCUTS.make(shortcut, in_channels, out_channels, stride, ndim=ndim)
        else:
            like_convs = {**conv, "kernel_size": 1, "activation": "none", "dropout": 0.0, "order": "cna", **options}
            self.shortcut = SHORTCUTS.make({"name": name, **like_convs}, in_channels, out_channels, stride, ndim=ndim)
        self.drop = dims.channel_dropout(ndim)(branch_dropout) if branch_dropout else nn.Identity()
        self.convs = nn.Sequential()
        for index in range(depth):
            own: ConvOptions = {**conv}
            if index == 0 and raw_input:
                own |= {"norm": "none", "activation": "none"}
            if index == depth - 1 and ends_active and not activate_last:
                own["activation"] = "none"
            width, step = (in_channels, stride) if index == 0 else (out_channels, 1)
            self.convs.append(ConvNormAct(width, out_channels, ndim=ndim, stride=step, **own))
        if zero_init and isinstance(
            gain := getattr(self.convs[-1].get_submodule("norm"), "weight", None), nn.Parameter
        ):
            nn.init.zeros_(gain)
        self.act = make_activation(activation if ends_active else "none", out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        x = self.project(x)
        return self.act(self.convs(self.drop(x)) + self.shortcut(x))


class RepeatChannels(nn.Module):
    """Repeats the channels in turn until there are `channels`: (N, C, *S) to (N, channels, *S) (V-Net's input)."""

    def __init__(self, channels: int, stride: Size, *, ndim: int) -> None:
        super().__init__()
        if set(dims.per_axis(stride, ndim)) != {1}:
            raise ConfigError(f"stride is {stride}; the shortcut 'repeat' keeps the size")
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Repeat."""
        times = dims.divide_up(self.channels, x.shape[1])
        return torch.cat([x] * times, dim=1)[:, : self.channels]

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"channels={self.channels}"


def _project(
    in_channels: int,
    out_channels: int,
    stride: Size,
    *,
    ndim: int,
    pool: bool = False,
    always: bool = False,
    **conv: Unpack[ConvOptions],
) -> nn.Module:
    step = dims.per_axis(stride, ndim)
    strided = set(step) != {1}
    layers: list[nn.Module] = []
    if strided and pool:
        # Rounded up, like the strided convolution that it is added to.
        layers.append(dims.avg_pool(ndim)(step, step, ceil_mode=True))
        strided = False
    if strided or always or in_channels != out_channels:
        layers.append(ConvNormAct(in_channels, out_channels, ndim=ndim, stride=step if strided else 1, **conv))
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _repeat(in_channels: int, out_channels: int, stride: Size, *, ndim: int) -> nn.Module:
    return RepeatChannels(out_channels, stride, ndim=ndim)


SHORTCUTS: Table[nn.Module] = Table("shortcut", {"projection": _project, "first": _project, "repeat": _repeat})
