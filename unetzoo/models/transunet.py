"""TransUNet (Chen et al., "TransUNet: Transformers make strong encoders for medical image segmentation", 2021)."""

from __future__ import annotations

from functools import partial

from unetzoo.centers.identity import Identity
from unetzoo.decoders.unet import UNetDecoder
from unetzoo.encoders.vision_transformer import VisionTransformerEncoder
from unetzoo.heads.conv import ConvHead
from unetzoo.network import Network


class TransUNet(Network):
    """A transformer on convolutional features, and a U-Net decoder: (N, in_channels, H, W) to (N, num_classes, H, W).

    Args:
        in_channels: channels of the image; a single one is repeated three times.
        num_classes: channels of the logits.
        image_size: side of the images that the position embeddings are for; others are interpolated.
        hybrid: a ResNet-50 before the transformer and skips from it (R50-ViT), or the transformer alone (ViT).
        embed_dim: width of the transformer; 768 for ViT-B, 1024 for ViT-L.
        depth: number of its blocks; 12 or 24.
        heads: number of attention heads; 12 or 16.
        mlp_dim: width inside its perceptrons; 3072 or 4096.
        dropout: probability behind the embeddings and in the perceptrons.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        image_size: int = 224,
        hybrid: bool = True,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_dim: int = 3072,
        dropout: float = 0.1,
    ) -> None:
        encoder = VisionTransformerEncoder(
            in_channels,
            image_size=image_size,
            hybrid=hybrid,
            embed_dim=embed_dim,
            depth=depth,
            heads=heads,
            mlp_dim=mlp_dim,
            out_channels=512,
            dropout=dropout,
        )
        decoder = UNetDecoder(
            encoder.channels,
            encoder.strides,
            ndim=2,
            decoder_channels=(256, 128, 64, 16),
            upsample={"name": "linear", "align_corners": True},
            skip={"name": "concat", "skip_first": False},
        )
        super().__init__(
            encoder,
            Identity(encoder.channels[-1], ndim=2),
            decoder,
            partial(ConvHead, decoder.channels, decoder.strides, ndim=2, kernel_size=3),
            in_channels=in_channels,
            num_classes=num_classes,
            ndim=2,
            # Below two patches per side, the deepest shortcut normalization has a single value per group.
            min_size=17 if hybrid else 1,
        )
