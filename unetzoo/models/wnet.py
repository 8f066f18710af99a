"""The W-Net of two chained small U-Nets (Galdran et al., "State-of-the-art retinal vessel segmentation with
minimalistic models", Scientific Reports 2022, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.centers.identity import Identity
from unetzoo.components.spec import Spec
from unetzoo.decoders.unet import UNetDecoder
from unetzoo.encoders.conv import ConvEncoder
from unetzoo.heads.conv import ConvHead
from unetzoo.network import DenseModel, Network
from unetzoo.nn.typing import BlockFactory


class WNet(DenseModel):
    """Two U-Nets in a row: the second one sees the image and the logits of the first, and refines them.

    `encoder`, `center`, `decoder` and `head` are those of the second network, `first` is the first one. With
    `deep_supervision` training mode returns the logits of the second and of the first.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits, of the first network as well.
        ndim: 2 or 3.
        channels: channels of each level of both networks.
        block: block of both networks.
        skip_block: block on each skip connection.
        upsample: as in `UNetDecoder`.
        skip: as in `UNetDecoder`.
        deep_supervision: whether training mode returns both networks' logits.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        ndim: int = 2,
        channels: Sequence[int] = (8, 16, 32),
        block: BlockFactory = DoubleConv,
        skip_block: BlockFactory | None = None,
        upsample: Spec = "deconv",
        skip: Spec = "concat",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=ndim,
            min_size=2 ** (len(channels) - 1),
            make_head=None,
        )

        self.make_encoder = partial(ConvEncoder, ndim=ndim, channels=channels, block=block)

        def unet(wide_in: int) -> Network:
            encoder = self.make_encoder(wide_in)
            decoder = UNetDecoder(
                encoder.channels,
                encoder.strides,
                ndim=ndim,
                upsample=upsample,
                skip=skip,
                block=block,
                skip_block=skip_block,
            )
            return Network(
                encoder,
                Identity(channels[-1], ndim=ndim),
                decoder,
                partial(ConvHead, decoder.channels, decoder.strides, ndim=ndim),
                in_channels=wide_in,
                num_classes=num_classes,
                ndim=ndim,
                min_size=self.min_size,
            )

        self.first = unet(in_channels)
        second = unet(in_channels + num_classes)
        self.encoder, self.center, self.decoder, self.head = (
            second.encoder,
            second.center,
            second.decoder,
            second.head,
        )
        self.make_head = second.make_head
        self.deep_supervision = deep_supervision

    def _replace_head(self, num_classes: int) -> None:
        """Give both networks a new head, and the second one new convolutions of the image with the first one's logits.

        What these do with the image stays; they learn even in a frozen encoder, since the rest of them is new.
        """
        super()._replace_head(num_classes)
        self.first.initialize = self.initialize
        self.first.reset_head(num_classes)
        encoder = self._part("encoder")
        fresh = self.make_encoder(self.in_channels + num_classes)
        if self.initialize is not None:
            self.initialize(fresh)
        for name, weight in fresh.named_parameters():
            old = encoder.get_parameter(name)
            if weight.shape != old.shape:
                layer = encoder.get_submodule(name.rpartition(".")[0])
                new = weight.detach().to(old)
                new[:, : self.in_channels] = old.detach()[:, : self.in_channels]
                layer.weight = nn.Parameter(new)
                layer.in_channels = new.shape[1]  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits of (N, in_channels, *spatial); in training with deep supervision both networks'."""
        self.check_input(x)
        first = self.first(x)
        features = self._part("encoder")(torch.cat([x, first], dim=1))
        second = self._part("head")(self._part("decoder")(features), size=x.shape[2:])
        return [second, first] if self.deep_supervision and self.training else second
