"""Swin-Unet (Cao et al., "Swin-Unet: Unet-like pure transformer for medical image segmentation", ECCVW 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from unetzoo.centers.identity import Identity
from unetzoo.decoders.swin import SwinDecoder
from unetzoo.encoders.swin import SwinEncoder
from unetzoo.errors import ConfigError
from unetzoo.heads.conv import ConvHead
from unetzoo.network import Network
from unetzoo.nn.convolution import make_conv

PUBLISHED_WINDOW = 7


class SwinUnet(Network):
    """A U-Net of shifted-window transformers alone: (N, in_channels, H, W) to (N, num_classes, H, W).

    Args:
        in_channels: channels of the image; a single one is repeated three times.
        num_classes: channels of the logits.
        image_size: side of the images that windows and position embeddings are for; others are padded to a multiple
            of the coarsest stride.
        window_size: side of the windows, in patches of 4x4 pixels.
        embed_dim: width of the first stage; by default 96, and 48 for windows smaller than the published 7.
        depths: number of blocks of each stage of the encoder.
        heads: attention heads of each stage.
        absolute_position: whether position embeddings are added to the patches; by default only for such windows.
        drop_path: probability of leaving the last block out in training; it rises evenly to that.

    Raises:
        ConfigError: sizes that do not divide, or not one number of heads per stage.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        image_size: int = 224,
        window_size: int = PUBLISHED_WINDOW,
        embed_dim: int | None = None,
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        absolute_position: bool | None = None,
        drop_path: float = 0.2,
    ) -> None:
        small = window_size < PUBLISHED_WINDOW
        embed_dim = embed_dim or (48 if small else 96)
        absolute_position = small if absolute_position is None else absolute_position
        coarsest = 4 * 2 ** (len(depths) - 1)
        if len(depths) != len(heads) or len(depths) < 2:
            raise ConfigError(f"{len(depths)} depths and {len(heads)} heads: expected one per stage, two or more")
        if image_size < coarsest or image_size % coarsest:
            raise ConfigError(f"image_size is {image_size}; expected a multiple of {coarsest}, the coarsest stride")
        if window_size < 2:
            raise ConfigError(f"window_size is {window_size}; expected a whole number from 2")
        if any(embed_dim * 2**stage % count for stage, count in enumerate(heads)):
            raise ConfigError(
                f"embed_dim {embed_dim}, doubled at each stage, cannot be divided among {list(heads)} heads"
            )
        encoder = SwinEncoder(
            in_channels,
            image_size=image_size,
            window_size=window_size,
            embed_dim=embed_dim,
            depths=depths,
            heads=heads,
            absolute_position=absolute_position,
            drop_path=drop_path,
        )
        decoder = SwinDecoder(
            encoder.channels,
            encoder.strides,
            image_size=image_size,
            window_size=window_size,
            depths=depths,
            heads=heads,
            drop_path=drop_path,
        )
        super().__init__(
            encoder,
            Identity(encoder.channels[-1], ndim=2),
            decoder,
            partial(
                ConvHead,
                decoder.channels,
                decoder.strides,
                ndim=2,
                logits_block=partial(make_conv, kernel_size=1, bias=False),
            ),
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=2,
            min_size=1,
        )
