"""The nested decoder of U-Net++ (Zhou et al., "UNet++", DLMIA 2018, figure 1 a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.components.spec import Spec
from unetzoo.decoders.unet import Align, DecoderStage
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.dropout import DropoutKind, make_dropout
from unetzoo.nn.typing import BlockFactory, Size


class UNetPlusPlusDecoder(nn.Module):
    """Nodes between encoder and output: node (i, j) joins all earlier nodes of its level i and the one below it.

    The decoded features are the nodes of the finest level, all of its resolution, that of the whole depth first, so
    that a head with deep supervision supervises them all. `upsample` and `align` are as in the U-Net's decoder;
    `skip` is `concat` or `attention`; every node of a level has the level's width, and `dropout` behind its block.
    Raises `ConfigError` for a merge under which some nodes would lead nowhere.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Size],
        *,
        ndim: int,
        upsample: Spec = "linear",
        skip: Spec = "concat",
        align: Align = "pad",
        block: BlockFactory = DoubleConv,
        dropout: float = 0.0,
        dropout_kind: DropoutKind = "channel",
    ) -> None:
        super().__init__()
        name = skip.get("name") if isinstance(skip, Mapping) else skip
        if name in ("add", "none"):
            raise ConfigError(f"skip {name!r} cannot join the several nodes of a level: expected concat or attention")
        depth = len(channels) - 1
        if depth < 1:
            raise ConfigError("a nested decoder needs an encoder of at least two levels")
        self.channels = [channels[0]] * depth
        self.strides = [strides[0]] * depth
        # columns[j - 1][i] is node (i, j) of the paper.
        self.columns = nn.ModuleList(
            nn.ModuleList(
                DecoderStage(
                    channels[level + 1],
                    channels[level] * column,
                    channels[level],
                    dims.scale_between(strides[level + 1], strides[level], ndim),
                    ndim=ndim,
                    up_channels=channels[level],
                    upsample=upsample,
                    skip=skip,
                    align=align,
                    block=block,
                    dropout=make_dropout(dropout, ndim=ndim, kind=dropout_kind),
                )
                for level in range(depth - column + 1)
            )
            for column in range(1, depth + 1)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the nodes of the finest level, the deepest first."""
        nodes = [[feature] for feature in features]
        for column in self.columns:
            for level, stage in enumerate(column.children()):
                nodes[level].append(stage(nodes[level + 1][-1], torch.cat(nodes[level], dim=1)))
        return nodes[0][:0:-1]
