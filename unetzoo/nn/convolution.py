"""Convolution, normalization, activation and dropout, in the order that a network wants them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypedDict

from torch import nn

from unetzoo.components.spec import Spec, name_of
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.activation import make_activation
from unetzoo.nn.normalization import make_norm
from unetzoo.nn.typing import Size

Padding = Literal["same", "valid", "inner"]


class ConvOptions(TypedDict, total=False):
    """The options of `ConvNormAct` that blocks pass on."""

    kernel_size: Size
    dilation: Size
    padding: Padding
    bias: bool | None
    norm: Spec
    activation: Spec
    dropout: float
    order: str


def make_conv(
    in_channels: int,
    out_channels: int,
    *,
    ndim: int,
    kernel_size: Size = 3,
    stride: Size = 1,
    dilation: Size = 1,
    groups: int = 1,
    padding: Padding = "same",
    bias: bool = True,
    transposed: bool = False,
) -> nn.Module:
    """Return a convolution whose output is the input's size over `stride`, rounded up (`padding="same"`).

    `transposed` gives the transposed convolution whose output is exactly `stride` times the input's size; with
    `padding="inner"` it reaches from the first to the last input position only: `stride * (size - 1) + 1`. With
    `padding="valid"` nothing is padded.
    """
    if min(in_channels, out_channels) < 1:
        raise ConfigError(f"a convolution from {in_channels} to {out_channels} channels: expected numbers from 1")
    kernel, step = dims.per_axis(kernel_size, ndim), dims.per_axis(stride, ndim)
    dilations = dims.per_axis(dilation, ndim)
    if min(*kernel, *step, *dilations) < 1:
        raise ConfigError(
            f"a convolution of kernel {kernel_size}, stride {stride} and dilation {dilation}: expected numbers from 1"
        )
    if padding == "inner":
        if not transposed or any(k % 2 == 0 for k in kernel):
            raise ConfigError("padding 'inner' is for transposed convolutions of odd kernels")
        pad = [(k - 1) // 2 for k in kernel]
        return dims.conv_transpose(ndim)(in_channels, out_channels, kernel, step, pad, groups=groups, bias=bias)
    if transposed:
        spare = [(k - s) % 2 for k, s in zip(kernel, step, strict=True)]
        if any(k < s or o >= s for k, s, o in zip(kernel, step, spare, strict=True)):
            raise ConfigError(f"a transposed convolution of kernel {kernel_size} cannot enlarge {stride} times")
        same = [(k - s + o) // 2 for k, s, o in zip(kernel, step, spare, strict=True)]
        pads = {"padding": same, "output_padding": spare} if padding == "same" else {}
        return dims.conv_transpose(ndim)(in_channels, out_channels, kernel, step, groups=groups, bias=bias, **pads)
    if padding == "same" and any(k % 2 == 0 and s == 1 for k, s in zip(kernel, step, strict=True)):
        raise ConfigError(f"kernel {kernel_size} is even: padding 'same' needs an odd kernel, or a stride")
    pad = [d * (k - 1) // 2 if padding == "same" else 0 for d, k in zip(dilations, kernel, strict=True)]
    return dims.conv(ndim)(in_channels, out_channels, kernel, step, pad, dilations, groups, bias)


class ConvNormAct(nn.Sequential):
    """Convolution, normalization and activation: (N, in_channels, *S) to (N, out_channels, *S / stride).

    `order` spells the sequence with the letters c (convolution), n (normalization), a (activation) and d (dropout
    of whole channels): "cna" is the usual one, "can" normalizes after the activation, "nca" and "nac" are
    pre-normalized and pre-activated. `bias` defaults to a bias only where no normalization follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        kernel_size: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        padding: Padding = "same",
        bias: bool | None = None,
        norm: Spec = "batch",
        activation: Spec = "relu",
        dropout: float = 0.0,
        order: str = "cna",
        transposed: bool = False,
    ) -> None:
        if sorted(order.replace("d", "")) != ["a", "c", "n"] or order.count("d") > 1:
            raise ConfigError(f"order is {order!r}; expected the letters c, n, a, each once, and d at most once")
        order = order if "d" in order else f"{order}d"
        layers: dict[str, nn.Module] = {}
        width = in_channels
        for letter in order:
            if letter == "c":
                layers["conv"] = make_conv(
                    in_channels,
                    out_channels,
                    ndim=ndim,
                    kernel_size=kernel_size,
                    stride=stride,
                    dilation=dilation,
                    groups=groups,
                    padding=padding,
                    bias=name_of(norm) == "none" if bias is None else bias,
                    transposed=transposed,
                )
                width = out_channels
            elif letter == "n" and name_of(norm) != "none":
                layers["norm"] = make_norm(norm, width, ndim=ndim)
            elif letter == "a" and name_of(activation) != "none":
                layers["act"] = make_activation(activation, width)
            elif letter == "d" and dropout > 0:
                layers["drop"] = dims.channel_dropout(ndim)(dropout)
        super().__init__(OrderedDict(layers))
