"""Transformers on images, with or without a convolutional network before them (Chen et al., "TransUNet", 2021)."""

from __future__ import annotations

import torch
from timm.layers import Mlp
from torch import nn
from torch.nn import functional as F

from unetzoo.encoders.big_transfer import BigTransferResNet
from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.checkpointing import CheckpointedStage
from unetzoo.nn.convolution import ConvNormAct
from unetzoo.nn.resampling import fit, interpolate

PATCH = 16


class SelfAttention(nn.Module):
    """Multi-head self-attention with a layer each for query, key and value: (N, tokens, channels) to the same."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TransformerBlock(CheckpointedStage):
    """Pre-normalized attention and perceptron (Dosovitskiy et al., ICLR 2021, figure 1)."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attention = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Mlp(channels, hidden, drop=dropout)
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.get_parameter("bias"), std=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block: (N, tokens, channels) to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformerEncoder(nn.Module):
    """A transformer on the patches of an image, or on the features of a residual network, finest first.

    Args:
        in_channels: channels of the image; a single one is repeated three times, as in the reference.
        image_size: side of the images that the position embeddings are for; at other sizes they are interpolated.
        hybrid: whether the patches are the coarsest features of a residual network, whose finer ones are returned
            too, or 16x16 pixels.
        embed_dim: width of the transformer.
        depth: number of its blocks.
        heads: number of attention heads.
        mlp_dim: width inside the perceptrons.
        out_channels: width of a last convolution, which gives the coarsest features.
        dropout: probability behind the embeddings and in the perceptrons.

    Images are padded with zeros around to a multiple of 16. Raises `ConfigError` if `image_size` is no multiple of 16
    or `embed_dim` none of `heads`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        image_size: int,
        hybrid: bool,
        embed_dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        out_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if image_size < PATCH or image_size % PATCH:
            raise ConfigError(f"image_size is {image_size}; expected a multiple of {PATCH}")
        if embed_dim % heads:
            raise ConfigError(f"embed_dim {embed_dim} cannot be divided among {heads} heads")
        self.grid = image_size // PATCH
        self.repeats = 3 if in_channels == 1 else 1
        self.cnn = BigTransferResNet(in_channels * self.repeats) if hybrid else None
        self.channels = [*(self.cnn.channels[:-1] if self.cnn else []), out_channels]
        self.strides = [*(self.cnn.strides[:-1] if self.cnn else []), PATCH]
        self.embed = (
            nn.Conv2d(self.cnn.channels[-1], embed_dim, 1)
            if self.cnn
            else nn.Conv2d(in_channels * self.repeats, embed_dim, PATCH, PATCH)
        )
        self.position = nn.Parameter(torch.zeros(1, self.grid**2, embed_dim))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(embed_dim, heads, mlp_dim, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.neck = ConvNormAct(embed_dim, out_channels, ndim=2)

    def no_weight_decay(self) -> set[str]:
        """Return the position embedding."""
        return {"position"}

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor per level."""
        x = fit(x, [dims.round_up(length, PATCH) for length in x.shape[2:]])
        x = x.repeat(1, self.repeats, 1, 1) if self.repeats > 1 else x
        finer: list[torch.Tensor] = []
        if self.cnn is not None:
            *finer, x = self.cnn(x)
        x = self.embed(x)
        grid = x.shape[2:]
        position = interpolate(self.position.mT.unflatten(-1, (self.grid, self.grid)), grid, align_corners=True)
        x = self.drop((x + position).flatten(2).mT)
        for block in self.blocks:
            x = block(x)
        return [*finer, self.neck(self.norm(x).mT.unflatten(-1, tuple(grid)))]
